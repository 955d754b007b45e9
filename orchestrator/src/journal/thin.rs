//! What is old is kept as means, what is very old not at all, and the file no larger than it may be.

use std::time::Duration;

use record::Timestamp;
use rusqlite::{Transaction, params};

/// How often it is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Single samples are kept for so long, then their means over [`FINE`].
const SAMPLES_KEPT: Duration = HOUR;
const FINE: Duration = Duration::from_secs(60);
/// Means over [`FINE`] are kept for so long, then means over [`COARSE`].
const FINE_KEPT: Duration = DAY.saturating_mul(7);
const COARSE: Duration = Duration::from_secs(900);
/// Means over [`COARSE`], decisions and moves are kept for so long.
const KEPT: Duration = DAY.saturating_mul(400);
/// Why nothing was moved is kept for so long.
const HOLDS_KEPT: Duration = DAY.saturating_mul(30);
/// What viewers saw is kept for so long.
const VIEWED_KEPT: Duration = DAY.saturating_mul(7);
/// Settings of so many starts of an orchestrator are kept.
const RUNS_KEPT: i64 = 100;
/// One of so many of the oldest rows goes at a time while the file is too large.
const SHED_PART: i64 = 10;
/// So often in one look: enough for all samples of a full file, a tenth at a time, and for what comes after them.
const SHED_TIMES_MAX: u32 = 200;

pub(super) fn thin(
    transaction: &Transaction<'_>,
    now: Timestamp,
    size_max_bytes: u64,
) -> rusqlite::Result<()> {
    let before = |age: Duration| (now - age).0 as i64;
    samples_to_means(transaction, before(SAMPLES_KEPT))?;
    fine_to_coarse(transaction, before(FINE_KEPT))?;
    let delete = |sql: &str, age| transaction.execute(sql, [before(age)]);
    delete("DELETE FROM viewed WHERE at_us < ?1", VIEWED_KEPT)?;
    delete("DELETE FROM mean WHERE begin_us < ?1", KEPT)?;
    delete(
        "DELETE FROM decision WHERE kind = 'hold' AND at_us < ?1",
        HOLDS_KEPT,
    )?;
    delete("DELETE FROM decision WHERE at_us < ?1", KEPT)?;
    delete("DELETE FROM fact WHERE at_us < ?1", KEPT)?;
    transaction.execute(
        "DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?1",
        [RUNS_KEPT],
    )?;
    for _ in 0..SHED_TIMES_MAX {
        if used_bytes(transaction)? <= size_max_bytes || !shed(transaction)? {
            break;
        }
    }
    Ok(())
}

/// Whole minutes only: one that is cut would get two means.
fn samples_to_means(transaction: &Transaction<'_>, until_us: i64) -> rusqlite::Result<()> {
    let span = FINE.as_micros() as i64;
    let until = until_us - until_us.rem_euclid(span);
    transaction.execute(
        "INSERT INTO mean (host, begin_us, span_us, load, load_max, samples)
             SELECT host, measured_us - measured_us % ?2, ?2, avg(load), max(load), count(*)
             FROM sample WHERE measured_us < ?1 GROUP BY host, measured_us / ?2
             ON CONFLICT DO NOTHING",
        params![until, span],
    )?;
    transaction
        .execute("DELETE FROM sample WHERE measured_us < ?1", [until])
        .map(drop)
}

fn fine_to_coarse(transaction: &Transaction<'_>, until_us: i64) -> rusqlite::Result<()> {
    let (fine, coarse) = (FINE.as_micros() as i64, COARSE.as_micros() as i64);
    let until = until_us - until_us.rem_euclid(coarse);
    transaction.execute(
        "INSERT INTO mean (host, begin_us, span_us, load, load_max, samples)
             SELECT host, begin_us - begin_us % ?2, ?2, sum(load * samples) / sum(samples), max(load_max), sum(samples)
             FROM mean WHERE span_us = ?3 AND begin_us < ?1 GROUP BY host, begin_us / ?2
             ON CONFLICT DO NOTHING",
        params![until, coarse, fine],
    )?;
    transaction
        .execute(
            "DELETE FROM mean WHERE span_us = ?2 AND begin_us < ?1",
            [until, fine],
        )
        .map(drop)
}

/// Bytes of pages in use; freed ones are used again.
fn used_bytes(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages.max(0) * pragma("page_size")?) as u64)
}

/// Lets the oldest tenth of earlier starts' settings go (those of a large site may be megabytes each), then of samples, what viewers
/// saw, means, holds, and last of moves and what they came to; `false` when there is nothing left to let go.
fn shed(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let steps = [
        ("run", "WHERE id < (SELECT max(id) FROM run)", "begun_us"),
        ("sample", "", "measured_us"),
        ("viewed", "", "at_us"),
        ("mean", "", "begin_us"),
        ("decision", "WHERE kind = 'hold'", "at_us"),
        ("decision", "", "at_us"),
        ("fact", "", "at_us"),
    ];
    for (table, which, at) in steps {
        let part: i64 = transaction.query_row(
            &format!("SELECT (count(*) + {SHED_PART} - 1) / {SHED_PART} FROM {table} {which}"),
            [],
            |row| row.get(0),
        )?;
        if part == 0 {
            continue;
        }
        let and = if which.is_empty() { "WHERE" } else { "AND" };
        transaction.execute(
            &format!(
                "DELETE FROM {table} {which} {and} {at} <= (SELECT max({at}) FROM
                     (SELECT {at} FROM {table} {which} ORDER BY {at} LIMIT ?1))"
            ),
            [part],
        )?;
        return Ok(true);
    }
    Ok(false)
}
