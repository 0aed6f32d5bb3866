"""The key that signs a user's Android apps, and what it signs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_der_x509_certificate

from harness.core.cache import Cache
from harness.native.android import BadKey
from harness.native.android.key import FILE, user_key
from harness.native.android.signing import content_digest, signing_block


def test_the_key_is_made_once_and_its_owner_s_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    key = user_key(cache)
    assert stat.S_IMODE((cache.root / FILE).stat().st_mode) == 0o600
    assert user_key(cache).certificate == key.certificate
    assert sorted(path.name for path in cache.root.iterdir()) == ["android-app-key.lock", FILE]


@pytest.mark.parametrize("content", ["no key", ""])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: str) -> None:
    cache = Cache(tmp_path)
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BadKey, match="holds no key") as info:
        user_key(cache)
    assert "remove the file" in info.value.cure


def test_a_key_with_another_s_certificate_is_refused(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        user_key(Cache(tmp_path / name))
        texts.append((tmp_path / name / FILE).read_text())
    end = "-----END PRIVATE KEY-----\n"
    (tmp_path / "a" / FILE).write_text(texts[0].partition(end)[0] + end + texts[1].partition(end)[2])
    with pytest.raises(BadKey, match="its own certificate"):
        user_key(Cache(tmp_path / "a"))


def test_the_same_contents_get_the_same_signature(tmp_path: Path) -> None:
    key = user_key(Cache(tmp_path))
    digest = content_digest([b"x" * 100, b"y"])
    assert signing_block(digest, key) == signing_block(digest, key)
    assert content_digest([b"x" * 100, b"z"]) != digest
    public = load_der_x509_certificate(key.certificate).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(key.sign(b"what"), b"what", padding.PKCS1v15(), hashes.SHA256())
