from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from gesturegen_cli.config.schema import DeviationLoss
from gesturegen_tps.tps_deviation import TpsDeviation
from gesturegen_tps.tps_losses import kept_transforms, picture_terms, trained_steps

from .moving_shapes import make_pairs
from .small import pictures, tiny_tps

WEIGHTS = {name: value for name, value in asdict(DeviationLoss()).items() if isinstance(value, float)}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _terms(model: TpsDeviation, **weights: float) -> dict[str, torch.Tensor]:
    return model.train().losses(make_pairs(2, _generator()), {**WEIGHTS, **weights}, _generator())


def test_every_part_learns():
    model = tiny_tps(background=True, refine=True).requires_grad_(True)
    terms = _terms(model)
    assert set(terms) == {"image", "gradient", "moving", "equivariance", "background", "warped", "synthetic", "merged"}
    assert set(terms) - {"background", "merged"} <= WEIGHTS.keys()
    assert all(value.isfinite() for value in terms.values())
    sum(WEIGHTS[name] * value for name, value in terms.items() if name in WEIGHTS).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not still


def test_the_refinement_teaches_nothing_but_itself():
    model = tiny_tps(refine=True)
    _terms(model)["synthetic"].backward()
    taught = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert taught == {"e2e_generator"}


def test_terms_without_weight_are_not_computed():
    assert _terms(tiny_tps(), warped=0.0, equivariance=0.0).keys() == {"image", "gradient", "moving"}


def test_losses_repeat_and_depend_on_the_generator():
    batch = make_pairs(2, _generator())
    same = [tiny_tps().train().losses(batch, WEIGHTS, _generator(seed)) for seed in (0, 0, 1)]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert not torch.equal(same[0]["equivariance"], same[2]["equivariance"])


def test_losses_work_in_half_precision():
    model = tiny_tps(background=True, refine=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.losses(make_pairs(2, _generator()), WEIGHTS, _generator())
    assert all(value.isfinite() and value.dtype == torch.float32 for value in terms.values())


def test_transforms_are_dropped_more_and_more_and_then_no_longer():
    config = {"dropout": 0.4, "dropout_start": 0.1, "dropout_rise": 100, "dropout_until": 300}
    model = tiny_tps(**config)

    for step, rate in ((0, 0.1), (50, 0.25), (100, 0.4), (299, 0.4), (300, 0.0)):
        kept = kept_transforms(model, 4000, torch.tensor(step), _generator())
        assert kept[:, 0].all()
        assert abs(1 - float(kept[:, 1:].float().mean()) - rate) < 0.02


def test_steps_are_counted_and_the_count_is_saved():
    model = tiny_tps()
    assert trained_steps(model) == 0
    for _ in range(2):
        _terms(model)
    model.eval()
    model.encode(pictures(1))
    fresh = tiny_tps()
    fresh.load_state_dict(model.state_dict())
    assert trained_steps(fresh) == 2


@pytest.mark.parametrize("begun", [False, True])
def test_the_background_comes_in_when_it_should(begun):
    model = tiny_tps(background=True, background_start=0 if begun else 5).requires_grad_(True)
    model.bg_predictor.bg_encoder.fc.bias.data += 0.3
    terms = _terms(model)
    assert (terms["background"] > 0.1) == begun
    terms["image"].backward()
    assert bool(model.bg_predictor.bg_encoder.fc.bias.grad.any()) == begun


def test_moving_counts_where_source_and_driving_differ():
    source = torch.zeros(1, 3, 8, 8)
    target = source.clone()
    target[..., 4:] = 1
    wrong = target.clone()
    wrong[..., :4] = 0.5
    assert picture_terms(wrong, target, source)["moving"] == 0
    torch.testing.assert_close(picture_terms(source, target, source)["moving"], torch.tensor(1.0))


@pytest.mark.slow
def test_learns_to_move_shapes():
    wider = {"keypoint_width": 8, "motion_width": 16, "motion_widest": 64, "image_channels": (8, 12, 16, 24)}
    model = tiny_tps(**wider, dropout=0.0).train()
    optimizer, draw = torch.optim.Adam(model.parameters(), 3e-3, betas=(0.5, 0.999)), _generator()
    history = []
    for _ in range(260):
        terms = model.losses(make_pairs(4, draw), WEIGHTS, draw)
        loss = sum(WEIGHTS[name] * value for name, value in terms.items() if name in WEIGHTS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(float(loss.detach()))
    # After 260 steps four seeds gave 0.61 to 0.66, and below 0.60 to 0.66.
    assert sum(history[-10:]) < 0.75 * sum(history[:10])
    unseen = make_pairs(16, _generator(99))
    with torch.inference_mode():
        made = model.eval().animate_pairs(unseen["source"], model.encode(unseen["driving"]))
    error, copied = ((picture - unseen["driving"]).abs().mean() for picture in (made, unseen["source"]))
    assert error < 0.85 * copied
