"""Writers of files that are shaped like well-known datasets, with texts and labels of one's own.

Each takes the directory to write to, texts, and a label for each, and returns the file or folder.
"""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

AG_NEWS_COLUMNS = "label,title,text"
SENTIMENT140_COLUMNS = "label,id,date,query,user,text"
DBPEDIA_COLUMNS = "label,title,content"


def title_of(index: int) -> str:
    """The title of a text, where the dataset has titles."""
    return f'A "title", number {index}'


def write_imdb(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As Kaggle's `IMDB Dataset.csv`: a header, and quotes where they are needed."""
    path = directory / "IMDB Dataset.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("review", "sentiment"))
        writer.writerows(zip(texts, labels, strict=True))
    return path


def write_ag_news(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As AG News: no header, everything quoted, and line breaks written as two characters."""
    rows = [
        (label, title_of(index), text.replace("\n", "\\n"))
        for index, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    return _write_quoted(directory / "train.csv", rows)


def write_yelp_polarity(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As Yelp's polarity: as AG News, without titles."""
    rows = [(label, text.replace("\n", "\\n")) for text, label in zip(texts, labels, strict=True)]
    return _write_quoted(directory / "train.csv", rows)


def write_sentiment140(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As Sentiment140: six quoted columns in Latin-1, and no header."""
    rows = [
        (label, str(1467810369 + index), "Mon Apr 06 22:19:45 PDT 2009", "NO_QUERY", "né", text)
        for index, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    name = "training.1600000.processed.noemoticon.csv"
    return _write_quoted(directory / name, rows, encoding="latin-1")


def write_sst2(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As SST-2: separated by tabs, with a header and without any quoting."""
    path = directory / "train.tsv"
    rows = [f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text("sentence\tlabel\n" + "".join(rows), encoding="utf-8")
    return path


def write_amazon(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As Amazon's reviews: a JSON object on each line, some with keys that others lack."""
    path = directory / "Digital_Music.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
            review = {"overall": float(label), "verified": index % 2 == 0, "asin": "0001"}
            if index % 3 == 0:
                review |= {"style": {"Format:": " Audio CD"}, "vote": "1,234"}
            if text:
                review["reviewText"] = text
            review |= {"summary": title_of(index), "unixReviewTime": 1360108800}
            file.write(json.dumps(review, allow_nan=False) + "\n")
    return path


def write_dbpedia(directory: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """As DBpedia: no header, the label without quotes, and texts that begin with a blank."""
    path = directory / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
            quoted = [value.replace('"', '""') for value in (title_of(index), f" {text}")]
            file.write(f'{label},"{quoted[0]}","{quoted[1]}"\n')
    return path


def write_hugging_face(
    directory: Path, texts: Sequence[str], labels: Sequence[int], names: Sequence[str]
) -> Path:
    """As `Dataset.to_parquet` of Hugging Face's datasets: class indices, with names beside them."""
    import pyarrow
    import pyarrow.parquet

    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }
    table = pyarrow.table(
        {"text": pyarrow.array(texts, pyarrow.string()), "label": pyarrow.array(labels)},
        metadata={"huggingface": json.dumps({"info": {"features": features}}, allow_nan=False)},
    )
    path = directory / "train-00000-of-00001.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=100)
    return path


def write_folder(
    directory: Path, texts: Sequence[str], labels: Sequence[str], name: str = "txt_sentoken"
) -> Path:
    """As the movie reviews of Pang and Lee: a folder for each label, a file for each text."""
    for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
        file = directory / name / label / f"cv{index:03d}_{29416 + index}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{text}\n".encode())
    return directory / name


def write_tfds(
    data_dir: Path,
    name: str,
    features: Mapping[str, object],
    splits: Mapping[str, Sequence[Mapping[str, object]]],
    config: str | None = None,
    file_format: str = "array_record",
) -> Path:
    """A dataset as tfds prepares it, written without TensorFlow."""
    import tensorflow_datasets as tfds

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self) -> object:
            of_features = tfds.features.FeaturesDict(dict(features))
            return tfds.core.DatasetInfo(builder=self, features=of_features)

        def _split_generators(self, dl_manager: object) -> object:
            return {split: enumerate(examples) for split, examples in splits.items()}

        def _generate_examples(self) -> object:
            raise NotImplementedError

    Prepared.name = name
    builder = Prepared(data_dir=data_dir)
    builder.download_and_prepare(file_format=file_format)
    return Path(builder.data_dir)


def _write_quoted(path: Path, rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return path
