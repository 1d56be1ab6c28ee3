"""One file per task kind, under the names of transformers' pipelines (`text-classification` is text_classification.py).

A task file offers `PIPELINE`, `AUTO_MODEL` (the transformers class, by name), `read(plan, id2label)` from the study
file to checked rows, `tokenize(rows, tokenizer, max_tokens)` and `pad(tokens, indices, pad_id, …)` to batches.
No torch here.
"""
