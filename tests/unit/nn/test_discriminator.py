import pytest
import torch

from gesturegen_cli.nn.discriminator import PatchDiscriminator, discriminator_loss, generator_losses


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return PatchDiscriminator(channels=4, blocks=3)


def images(seed):
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_every_patch_is_scored(judge):
    *features, scores = judge(images(1))
    assert [f.shape for f in features] == [(2, 4, 16, 16), (2, 8, 8, 8), (2, 16, 4, 4)]
    assert scores.shape == (2, 1, 4, 4)


def test_the_hinge_loss_is_that_of_the_scores(judge):
    real, made = images(1), images(2)
    judge.eval()
    with torch.no_grad():
        judge.head.bias += 1 - judge(real)[-1].mean()  # scores on both sides of the hinge
    good, bad = judge(real)[-1], judge(made)[-1]
    assert good.min() < 1 < good.max()
    expected = (1 - good).clamp_min(0).mean() + (1 + bad).clamp_min(0).mean()
    torch.testing.assert_close(discriminator_loss(judge, real, made), expected)
    torch.testing.assert_close(generator_losses(judge, real, made)[0], -bad.mean())


def test_each_side_learns_from_its_own_loss_only(judge):
    made = images(2).requires_grad_()
    discriminator_loss(judge, images(1), made).backward()
    assert made.grad is None
    assert all(p.grad is not None and p.grad.any() for p in judge.blocks.parameters())
    judge.zero_grad()
    sum(generator_losses(judge, images(1), made)).backward()
    assert made.grad.any()
    assert all(p.grad is None for p in judge.parameters())


def test_judging_for_the_generator_leaves_the_discriminator_as_it_is(judge):
    judge.train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    generator_losses(judge, images(1), images(2))
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())


def test_equal_pictures_have_equal_features(judge):
    assert generator_losses(judge, images(1), images(1))[1] == 0
    assert generator_losses(judge, images(1), images(2))[1] > 0


def test_it_can_learn_to_tell_noise_from_flat_pictures(judge):
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    flat = torch.full((2, 3, 32, 32), 0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss = discriminator_loss(judge, images(1), flat)
        loss.backward()
        optimizer.step()
    assert loss < 1  # 2 at the start
