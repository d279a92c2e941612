"""Arrays keep their axes: a transposed image is refused, and transposed where asked for."""

import numpy as np
import pytest

import mempost
from mempost.core.errors import SpecError
from mempost.core.registry import REGISTRIES
from mempost.core.shapes import fits
from mempost.core.streams import Streams
from mempost.experiments.run import check, load

IMAGES = [[[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]]]
SPEC = {
    "title": "images",
    "data": {"type": "points", "values": IMAGES},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.3},
    "operator": {"type": "identity"},
    "noise": {"std": 0.5},
    "observation": {"values": IMAGES[0]},
    "samplers": {"exact": {"type": "exact_lgm"}},
    "samples": 8,
    "metrics": [{"type": "moments"}],
}
TRANSPOSED = np.transpose(IMAGES[0]).tolist()


@pytest.mark.parametrize(
    ("found", "expected", "fit"),
    [
        ((2, 3), (2, 3), True),
        ((1, 2, 1, 3), (2, 3), True),
        ((6,), (2, 3), True),
        ((1, 6), (2, 3), True),
        ((6,), (6, 1), True),
        ((), (1,), True),
        ((3, 2), (2, 3), False),
        ((2, 3), (6,), False),
        ((5,), (6,), False),
        ((2, 3, 1, 4), (3, 2, 4), False),
    ],
)
def test_axes_of_length_one_come_and_go_and_a_list_is_folded(found, expected, fit):
    assert fits(found, expected) is fit


def refused(spec):
    with pytest.raises(SpecError) as error:
        check(load(spec)[0], "spec")
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("observation", [{"values": IMAGES[0]}, {"values": [0, 1, 2, 3, 4, 5]}])
def test_the_image_and_its_list_give_the_same_numbers(observation, tmp_path):
    study = mempost.run({**SPEC, "observation": observation}, out=tmp_path / "out")
    assert study.rows[0]["mean_1"] == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize(
    ("observation", "place"),
    [
        ({"values": TRANSPOSED}, "observation.values"),
        ({"truth": {"type": "values", "values": TRANSPOSED}}, "observation.truth.values"),
        (
            {"truth": {"type": "dataset", "dataset": {"type": "points", "values": [TRANSPOSED]}}},
            "observation.truth",
        ),
    ],
)
def test_a_transposed_image_is_refused(observation, place):
    message = refused({**SPEC, "observation": observation})
    assert f"{place}: " in message and "shape (3, 2), expected (2, 3)" in message


def test_examples_of_another_shape_than_a_prior_without_data_are_refused(tmp_path):
    prior = {"type": "gaussian", "mean": [0] * 6, "covariance": [1] * 6}
    with_data = {**SPEC, "prior": prior, "observation": {"values": [0] * 6}}
    with pytest.raises(SpecError, match=r"examples of shape \(2, 3\), the prior's are \(6,\)"):
        mempost.run(with_data, out=tmp_path / "out")


def examples(**hyper):
    dataset = REGISTRIES["dataset"].get("file")(order="file", **hyper)
    return dataset.load(Streams(0, "data")).train.numpy()


@pytest.fixture
def layers(tmp_path):
    """Three models of two flat layers, (n, nz, nx) = (3, 6, 4)."""
    image = np.where(np.arange(6)[:, None] < 3, 1.5, 3.0) * np.ones((6, 4))
    np.save(tmp_path / "zx.npy", image[None].repeat(3, 0))
    return tmp_path / "zx.npy", image


def test_a_file_of_transposed_images_is_refused_or_transposed(layers):
    path, image = layers
    with pytest.raises(SpecError, match=r"shape \(6, 4\), not of shape \(4, 6\); transpose"):
        examples(path=path, shape=(4, 6))
    assert (examples(path=path, shape=(4, 6), transpose=(1, 0))[0] == image.T).all()
    assert (examples(path=path, shape=(1, 6, 4))[0, 0] == image).all()
    with pytest.raises(SpecError, match="each axis"):
        examples(path=path, transpose=(0, 0))


def test_flat_examples_are_folded_and_images_are_not_flattened(layers, tmp_path):
    path, image = layers
    np.save(tmp_path / "flat.npy", image.reshape(1, -1).repeat(2, 0))
    assert (examples(path=tmp_path / "flat.npy", shape=(6, 4))[0] == image).all()
    with pytest.raises(SpecError, match="not of shape"):
        examples(path=path, shape=(24,))


def test_an_observation_from_a_file_is_transposed_where_asked_for(tmp_path):
    np.save(tmp_path / "y.npy", np.array(TRANSPOSED, float))
    file = {"type": "file", "path": str(tmp_path / "y.npy")}
    assert "transpose" in refused({**SPEC, "observation": {"values": file}})
    turned = {**SPEC, "observation": {"values": {**file, "transpose": [1, 0]}}}
    typed = mempost.run(SPEC, out=tmp_path / "typed")
    read = mempost.run(turned, out=tmp_path / "read")
    assert read.rows[0]["mean_1"] == typed.rows[0]["mean_1"]
