"""Config and tokenizer of a model, opened in one way by whatever uses a model, and checked before weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError, UnsupportedArchitecture
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.folder import TOKENIZER_FILES, checked_config, json_object

_NAMED = 3


def load_config(path_or_id: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The Hugging Face config of a supported causal LM; reads no weights. Raises ModelError and UnsupportedArchitecture as
    `load_model`."""
    with errors_become(
        ModelError, f"The config of {path_or_id} cannot be used", "Download or export the model again"
    ):
        checked_config(path_or_id, revision)
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(
            path_or_id, revision=revision, trust_remote_code=trust_remote_code
        )
        try:
            anatomy = anatomy_of(config)
        except UnsupportedArchitecture as error:
            raise UnsupportedArchitecture(f"{path_or_id} cannot be used. {error.message}") from error
        if anatomy.n_heads % anatomy.n_kv_heads:
            raise ValueError(f"{anatomy.n_kv_heads} key-value heads cannot share {anatomy.n_heads} heads")
        # A config may ask for other outputs than the ones that are read here.
        config.return_dict, config.output_hidden_states, config.output_attentions = True, False, False
    return config


def load_tokenizer(
    path_or_id: str | Path, config: Any, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """The tokenizer of a model with this config.

    A special token without a row in the embedding (Gemma 3 has one, for images) is refused only where a sentence holds it.

    Raises:
        ModelError: there is none, it cannot be read, or other tokens than special ones have no row in the embedding.
    """
    folder = Path(path_or_id)
    with errors_become(
        ModelError, f"The tokenizer of {path_or_id} cannot be loaded", "Download or export its files again"
    ):
        if folder.is_dir():
            for path in sorted({p for pattern in TOKENIZER_FILES for p in folder.glob(pattern)}):
                if path.suffix == ".json":
                    json_object(path)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            path_or_id, revision=revision, trust_remote_code=trust_remote_code
        )
        ids = tokenizer("a b")["input_ids"]
        if not isinstance(ids, list) or not tokenizer("a b", add_special_tokens=False)["input_ids"]:
            raise ValueError("it makes no tokens of the text 'a b'")
        n_rows = config.get_text_config().vocab_size
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        beyond = {t: i for t, i in tokenizer.get_vocab().items() if i >= n_rows and i not in special}
    if beyond:
        named = ", ".join(f"{token!r} ({i})" for token, i in sorted(beyond.items())[:_NAMED])
        raise ModelError(
            f"The tokenizer of {path_or_id} has {len(beyond)} tokens that the model does not know: its embedding has {n_rows} "
            f"rows, but {named} lie beyond. Give the model its own tokenizer, or resize its embedding and save both again"
        )
    return tokenizer
