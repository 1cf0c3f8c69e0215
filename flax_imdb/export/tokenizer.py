"""The tokenizer as ``tokenizer.json`` of Hugging Face's ``tokenizers``."""

from flax_imdb.data.tokenizer import SPECIAL_TOKENS, START, UNKNOWN
from flax_imdb.predict import TrainedModel


def tokenizer_json(model: TrainedModel) -> str:
    """The vocabulary, and the rules for texts as far as the format can say them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = [*SPECIAL_TOKENS, *model.vocabulary.words]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, SPECIAL_TOKENS[UNKNOWN]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start = SPECIAL_TOKENS[START]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, START)]
    )
    return str(tokenizer.to_str())
