"""What is learned is steadied by peers; what is measured is not."""

import numpy as np
import pandas as pd

from training.router.dataset import PEER_SHARE, PEERS, REFERENCE, SOURCES, _steadied

FRAME = pd.DataFrame({"score::peer": [1.0, 0.0], "score::other": [1.0, np.nan]})


def test_half_of_the_target_is_the_mean_of_the_peers():
    right = np.array([[0.0, 1.0], [1.0, 1.0]])
    target = _steadied(FRAME, right, (("peer", "other"), ()))
    assert target.tolist() == [[PEER_SHARE, 1.0], [1 - PEER_SHARE, 1.0]]
    assert right.tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_every_source_says_who_its_peers_are():
    assert set(PEERS) == set(SOURCES)
    assert REFERENCE in SOURCES


def test_no_source_without_a_licence_is_learned_from():
    assert not {"routerdc_7small", "bbh_openllm_v2"} & set(SOURCES)
