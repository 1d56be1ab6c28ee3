"""One file per task kind, under the names of transformers' pipelines (`text-classification` is text_classification.py).

A task file defines `PIPELINE`, `AUTO_MODEL` (the name of the transformers class), `read(plan, id2label)`, which returns
checked rows, `tokenize(rows, tokenizer, max_tokens)`, and `pad(tokens, indices, pad_id, …)`, which returns batches.
Imports no torch.
"""
