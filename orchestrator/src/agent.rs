//! Asking SNMP agents.

use std::net::SocketAddr;
use std::time::Duration;

use async_snmp::{Auth, Client, Oid, Retry, Value, oid};
use control::Input;
use record::{HostName, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Snmp;
use crate::counters::{Counters, Reading};

/// `sysUpTime`, and UCD-SNMP-MIB's `ssCpuRaw{User,Nice,System,Idle,Wait}`.
fn oids() -> [Oid; 6] {
    [
        oid!(1, 3, 6, 1, 2, 1, 1, 3, 0),
        oid!(1, 3, 6, 1, 4, 1, 2021, 11, 50, 0),
        oid!(1, 3, 6, 1, 4, 1, 2021, 11, 51, 0),
        oid!(1, 3, 6, 1, 4, 1, 2021, 11, 52, 0),
        oid!(1, 3, 6, 1, 4, 1, 2021, 11, 53, 0),
        oid!(1, 3, 6, 1, 4, 1, 2021, 11, 54, 0),
    ]
}

/// Asks one agent for ever, and sends a sample whenever it has refreshed. An agent that does not answer gives no samples;
/// the controller sees that by their age.
pub(crate) async fn watch(
    host: HostName,
    address: SocketAddr,
    snmp: Snmp,
    inputs: mpsc::Sender<Input>,
) {
    let poll = Duration::from_millis(snmp.poll_ms);
    let mut counters = Counters::new(host.clone());
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = false;
    loop {
        // No retry: the next poll is one. The construction itself does not send anything.
        let builder = Client::builder(address, Auth::v2c(snmp.community.clone()));
        let client = match builder
            .request_timeout(poll.max(Duration::from_millis(200)))
            .retry(Retry::none())
            .connect()
            .await
        {
            Ok(client) => client,
            Err(error) => {
                eprintln!("snmp: {host} at {address}: {error}");
                ticks.tick().await;
                continue;
            }
        };
        loop {
            ticks.tick().await;
            let reading = match client.get_many(&oids()).await {
                Ok(response) => {
                    let value = |oid: &Oid| {
                        response
                            .varbinds
                            .iter()
                            .find(|varbind| varbind.oid == *oid)
                            .map(|varbind| &varbind.value)
                    };
                    reading(value)
                }
                Err(error) => Err(error.to_string()),
            };
            match reading {
                Ok(reading) => {
                    if std::mem::take(&mut silent) {
                        eprintln!("snmp: {host} at {address} answers again");
                    }
                    if let Some(sample) = counters.take(Timestamp::now(), reading)
                        && inputs.send(Input::Sample(sample)).await.is_err()
                    {
                        return;
                    }
                }
                Err(why) => {
                    if !std::mem::replace(&mut silent, true) {
                        eprintln!("snmp: {host} at {address}: {why}");
                    }
                    break;
                }
            }
        }
    }
}

/// An answer's values; absent or of another type is an error, not 0.
fn reading<'a>(value: impl Fn(&Oid) -> Option<&'a Value>) -> Result<Reading, String> {
    let oids = oids();
    let counter = |oid: &Oid| match value(oid) {
        Some(Value::Counter32(count) | Value::TimeTicks(count)) => Ok(*count),
        Some(other) => Err(format!("{oid} is {other:?}, not a counter")),
        None => Err(format!("{oid} is absent")),
    };
    // An agent on a system without these modes leaves them out.
    let optional = |oid: &Oid| match value(oid) {
        None | Some(Value::NoSuchObject | Value::NoSuchInstance | Value::EndOfMibView) => Ok(0),
        Some(_) => counter(oid),
    };
    Ok(Reading {
        up_time: counter(&oids[0])?,
        busy: [counter(&oids[1])?, optional(&oids[2])?, counter(&oids[3])?],
        idle: [counter(&oids[4])?, optional(&oids[5])?],
    })
}
