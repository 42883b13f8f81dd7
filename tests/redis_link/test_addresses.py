import ssl

import pytest
from pydantic import BaseModel, ValidationError

from entroute.redis_link.addresses import parsed_address
from entroute.redis_link.budgeted import RedisUrl


def test_a_server_is_understood() -> None:
    address = parsed_address("rediss://bob:p%40ss@cache.example:6380/3?ssl_ca_certs=/etc/ca.pem")
    assert (address.kind, address.tls, address.db) == ("server", True, 3)
    assert address.hosts == (("cache.example", 6380),)
    assert address.login == {"username": "bob", "password": "p@ss"}
    assert address.options == {"ssl_ca_certs": "/etc/ca.pem"}
    assert address.shown == "rediss://cache.example:6380/3"


def test_a_unix_socket_is_understood() -> None:
    address = parsed_address("unix://:pw@/run/redis.sock?db=2")
    assert (address.path, address.db, address.hosts) == ("/run/redis.sock", 2, ())
    assert address.login == {"password": "pw"}


def test_sentinels_are_understood() -> None:
    address = parsed_address(
        "redis+sentinel://u:p@s1:26380,s2,[::1]:26381/shared/1?sentinel_password=other"
    )
    assert (address.kind, address.service, address.db) == ("sentinel", "shared", 1)
    assert address.hosts == (("s1", 26380), ("s2", 26379), ("::1", 26381))
    assert address.login == {"username": "u", "password": "p"}
    assert address.sentinel_login == {"password": "other"}
    assert address.shown == "redis+sentinel://s1:26380,s2:26379,::1:26381/shared/1"


def test_a_cluster_is_understood() -> None:
    address = parsed_address("rediss+cluster://n1,n2:7000?ssl_cert_reqs=none&ssl_min_version=1.3")
    assert (address.kind, address.tls, address.db) == ("cluster", True, 0)
    assert address.hosts == (("n1", 6379), ("n2", 7000))
    assert address.options["ssl_min_version"] is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(("url", "host"), [("redis://h", "h"), ("redis:///0", "localhost")])
def test_what_is_left_out_has_the_usual_value(url: str, host: str) -> None:
    address = parsed_address(url)
    assert (address.hosts, address.db, address.login) == (((host, 6379),), 0, {})


class _Configured(BaseModel, hide_input_in_errors=True):
    url: RedisUrl


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://:hunter2@h/0",
        "redis://:hunter2/x@h:y",
        "redis://:hunter2@h:0",
        "redis://:hunter2@h:99999",
        "redis://:hunter2@[::1/0",
        "redis://:hunter2@h,h2/0",
        "redis://:hunter2@h/zero",
        "redis://:hunter2@h/0/1",
        "redis://:hunter2@h/0#f",
        "redis://:hun?hunter2@h/0",
        "redis://:x?hunter2=@h/0",
        "redis://:hunter2@h/0?db=hunter2",
        "redis://:hunter2@h/0?colour=red",
        "redis://:hunter2@h/0?db=1&db=2",
        "redis://:hunter2@h/0?socket_timeout=9",
        "redis://:hunter2@h/0?ssl_ca_certs=/etc/ca.pem",
        "rediss://:hunter2@h/0?ssl_cert_reqs=hunter2",
        "unix://:hunter2@",
        "unix://:hunter2@/s?socket_keepalive=yes",
        "redis+sentinel://:hunter2@h:1",
        "redis+sentinel://:hunter2@h:1,/shared",
        "redis+sentinel://:hunter2@h:1/shared/x",
        "redis+cluster://:hunter2@h:1/3",
        "redis+cluster://:hunter2@",
        "redis+cluster://:hunter2@h?sentinel_password=x",
    ],
)
def test_a_wrong_address_is_refused_and_never_quoted(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Configured.model_validate({"url": url})
    assert "hunter2" not in str(caught.value)
    assert "redis://HOST" in str(caught.value) or "database 0" in str(caught.value)


def test_neither_the_setting_nor_the_address_shows_its_password() -> None:
    url = "redis+sentinel://bob:hunter2@h/shared?sentinel_password=hunter3"
    shown = [repr(_Configured.model_validate({"url": url})), repr(parsed_address(url))]
    assert not [text for text in shown if "hunter" in text or "bob" in text]
