"""The suite that ``darkmatter init`` writes."""

TEMPLATE = """\
# A darkmatter suite: what to evaluate, on what. Run it with: darkmatter run suite.yaml
# Relative paths start at this file's folder.

model: path/to/model            # a Hugging Face folder or a hub id; or instead of model and text:
# activations: acts.safetensors # tensor x [contexts, positions, d] or [n, d]

text:
  path: stories.jsonl           # .jsonl with a field "text", .txt (blank line between documents), hf:NAME
  contexts: 400                 # how many contexts
  # context_length: 256         # default: what the SAEs record, else 256
  # bos: always                 # default: what the SAEs record, else always, if there is a BOS token

hooks: [blocks.2.hook_resid_post]   # default: what the SAEs record

saes:                           # NAME: REFERENCE
  mine: runs/my_sae
  pca: "baseline:pca,k=16"      # a control, fitted on the training rows at each hook point that SAEs read
  # zero: {ref: "baseline:zero", hook: blocks.2.hook_resid_post}   # or at one of them alone
  # odd: {ref: runs/odd, adapter: saelens, hook: blocks.3.hook_resid_post, norm_factor: 0.3, bos: false}
  # what a file does not say can be stated so; `darkmatter inspect REF` names what is assumed of it

evaluators:                     # leave out for the usual ones; `darkmatter list`, `darkmatter describe NAME`
  reconstruction: {}
  error_decomposition: {bias: true}

# only: {error_saes: [mine]}    # an evaluator that is to measure some of the SAEs alone
# controls: true                # add the mean, and pca, pca_topk and random at the SAEs' L0
# analysis: {split: context, skip_first: 16, skip_last: 1, dtype: float32, device: cpu}
seed: 0
"""
