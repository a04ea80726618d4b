import pytest
import torch
from transformers import AutoModelForCausalLM

from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods.embedding import nearest, vector


def test_the_nearest_document_by_hand():
    documents = torch.tensor([[5.0, 0.0], [0.0, 0.1], [-1.0, -1.0]])
    questions = torch.tensor([[2.0, 1.0], [1.0, 9.0], [0.0, -1.0], [-3.0, 0.1]])
    assert nearest(documents, questions).tolist() == [0, 1, 2, 2]


def test_a_vector_is_the_mean_state_of_all_tokens_but_the_first_before_the_last_layer(job_of, tiny):
    language = load(job_of("embedding"))
    tokens = language.renderer.template.content("Heat the oven to 180 degrees.")
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    with torch.no_grad():
        states = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    expected = states[model.config.num_hidden_layers - 1][0][1:].mean(0)
    assert vector(language.model, tokens, 100).tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    # The only token of a text is not left out.
    assert vector(language.model, tokens[:1], 100).tolist() == pytest.approx(
        states[model.config.num_hidden_layers - 1][0][0].tolist(), abs=1e-4
    )
