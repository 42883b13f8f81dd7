"""Waiting times against what is known of them exactly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.queueing import Wait, erlang_c, one_server, quantile, several_servers

EXPONENTIAL = [-math.log(1 - (i + 0.5) / 4000) for i in range(4000)]
"""Service times of mean 1 whose second moment is 2, in equal shares."""


def test_one_server_is_busy_for_its_load():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)


def test_erlang_c_agrees_with_its_sum():
    servers, offered = 5, 3.5
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    assert erlang_c(servers, offered) == pytest.approx(last / (sum(terms) + last))


def test_more_work_than_servers_is_refused():
    with pytest.raises(ConfigurationError, match="nothing would end"):
        erlang_c(3, 3.0)
    with pytest.raises(ConfigurationError, match="nothing would end"):
        one_server(2.0, [0.5])


def test_exponential_services_wait_as_in_m_m_1():
    assert several_servers(0.8, 1, EXPONENTIAL).mean_s == pytest.approx(0.8 / 0.2, rel=0.01)
    assert one_server(0.8, EXPONENTIAL).mean_s == pytest.approx(0.8 / 0.2, rel=0.01)


def test_equal_services_wait_half_as_long():
    assert one_server(0.8, [1.0]).mean_s == pytest.approx(2.0)
    assert several_servers(0.8, 1, [1.0]).mean_s == pytest.approx(2.0)


def test_who_waits_in_m_m_1_waits_exponentially():
    wait = several_servers(0.5, 1, EXPONENTIAL)
    assert wait.tail(0.0) == pytest.approx(0.5, rel=0.01)
    assert wait.tail(2.0) == pytest.approx(0.5 * math.exp(-0.5 * 2.0), rel=0.02)


def test_a_quantile_without_waiting_is_the_service():
    assert quantile(0.95, [Wait(0.0, 0.0)], [1.0, 2.0]) == pytest.approx(2.0)
    assert quantile(0.4, [Wait(0.0, 0.0)], [1.0, 2.0]) == pytest.approx(1.0)


def test_a_quantile_adds_wait_and_service():
    wait = Wait(1.0, 1.0)
    assert quantile(0.95, [wait], [3.0]) == pytest.approx(3.0 - math.log(0.05))


@given(st.integers(1, 200), st.floats(0, 0.99))
def test_a_busy_probability_is_a_probability_and_falls_with_servers(servers: int, load: float):
    offered = load * servers
    assert 0 <= erlang_c(servers, offered) <= 1
    assert erlang_c(servers + 1, offered) <= erlang_c(servers, offered) + 1e-12


@given(st.floats(0, 1), st.floats(0, 100), st.floats(0.01, 0.99), st.floats(0.01, 10))
def test_what_is_promised_by_a_quantile_holds(chance: float, mean: float, level: float, own: float):
    wait = Wait(chance, mean)
    bound = quantile(level, [wait], [own])
    assert bound >= own * (1 - 1e-9)
    assert wait.tail(bound - own) <= 1 - level + 1e-6 or bound <= own * (1 + 1e-9)
