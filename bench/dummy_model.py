"""Model folders without weights: the shape of a real model, for vLLM's `load_format: dummy`.

Promises: `write` makes a folder that vLLM loads with random weights of exactly that shape, and that
needs no download; speed and memory are those of the real model, answers mean nothing. The tokenizer
has a word for every id of the vocabulary, so that each token made is a piece of text that is sent.
Not covered: quality, and checkpoints that are quantized ahead (AWQ, GPTQ).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

_SPECIAL = ("<unk>", "<s>", "</s>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
)


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """A Llama model's dimensions, by the names of its config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int = 8192

    @property
    def head_dim(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def parameters(self) -> int:
        """Weights of the whole model, with input and output embeddings apart."""
        hidden, kv = self.hidden_size, self.num_key_value_heads * self.head_dim
        attention = 2 * hidden * hidden + 2 * hidden * kv
        layer = attention + 3 * hidden * self.intermediate_size + 2 * hidden
        return self.num_hidden_layers * layer + 2 * self.vocab_size * hidden + hidden


# Dimensions of Meta's Llama 3.1 8B and 70B, from their published config.json; `tiny` is ours, for a
# machine without a GPU.
SHAPES = {
    "tiny": LlamaShape(256, 512, 2, 4, 2, 2048),
    "8b": LlamaShape(4096, 14336, 32, 32, 8, 128_256),
    "70b": LlamaShape(8192, 28672, 80, 64, 8, 128_256),
}


def write(folder: Path, shape: LlamaShape) -> Path:
    """Write `config.json` and a tokenizer of the shape's vocabulary into `folder`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = asdict(shape) | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
        "bos_token_id": _SPECIAL.index("<s>"),
        "eos_token_id": _SPECIAL.index("</s>"),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    _tokenizer(shape.vocab_size).save(str(folder / "tokenizer.json"))
    spoken = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": shape.max_position_embeddings,
        "chat_template": _CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(spoken, indent=1) + "\n")
    return folder


def _tokenizer(vocab_size: int) -> Tokenizer:
    """One word for each id; a word of a prompt that it does not know is one unknown token."""
    words = [*_SPECIAL, *(f"w{number}" for number in range(vocab_size - len(_SPECIAL)))]
    tokenizer = Tokenizer(WordLevel({word: id_ for id_, word in enumerate(words)}, "<unk>"))
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.decoder = WordPiece(prefix="##", cleanup=False)
    return tokenizer
