//! Against a small server that answers as Prometheus' HTTP API does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc as told;
use std::time::Duration;

use control::Input;
use forestall_orchestrator::prometheus::{Prometheus, Scraper, Server};
use record::{HostName, Timestamp};
use tokio::sync::mpsc;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(30);

/// `node_cpu_seconds_total{instance="192.0.2.7:9100"}[2m]` at two instants, 15 s apart, of a host with one processor.
const ANSWERS: [&str; 2] = [
    r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"node_cpu_seconds_total","cpu":"0","instance":"192.0.2.7:9100","job":"node","mode":"idle"},
         "values":[[1700000000.781,"1000.25"]]},
        {"metric":{"__name__":"node_cpu_seconds_total","cpu":"0","instance":"192.0.2.7:9100","job":"node","mode":"user"},
         "values":[[1700000000.781,"50"]]}]}}"#,
    r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"node_cpu_seconds_total","cpu":"0","instance":"192.0.2.7:9100","job":"node","mode":"idle"},
         "values":[[1700000000.781,"1000.25"],[1700000015.781,"1009.25"]]},
        {"metric":{"__name__":"node_cpu_seconds_total","cpu":"0","instance":"192.0.2.7:9100","job":"node","mode":"user"},
         "values":[[1700000000.781,"50"],[1700000015.781,"56"]]}]}}"#,
];

/// Answers with the first twice, as between two scrapes, then with the second for ever.
fn serve(answers: [String; 2]) -> (String, told::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prometheus/", listener.local_addr().unwrap());
    let (tell, asked) = told::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            drop(lines);
            let body = &answers[usize::from(number > 1)];
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // Who asked may have gone away.
            drop(stream.write_all(answer.as_bytes()));
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (url, asked)
}

/// Asks that server for a host.
fn scraper(url: String) -> (Scraper, HostName) {
    let host = HostName::new("a").unwrap();
    let instances = [(host.clone(), "192.0.2.7:9100".to_owned())].into();
    let scraper = Scraper::new(&Prometheus {
        poll_ms: 200,
        authorization: None,
        ca_file: None,
        exporters: Default::default(),
        server: Some(Server { url, instances }),
    });
    (scraper.unwrap(), host)
}

#[tokio::test]
async fn two_scrapes_become_a_sample_of_the_time_between_them() {
    let (url, asked) = serve(ANSWERS.map(str::to_owned));
    let (scraper, host) = scraper(url);
    let (samples, mut heard) = mpsc::channel(8);
    let sample = tokio::select! {
        () = scraper.run(&samples) => panic!("nobody is asked any more"),
        heard = timeout(WITHIN, heard.recv()) => match heard {
            Ok(Some(Input::Sample(sample))) => sample,
            other => panic!("no sample: {other:?}"),
        },
    };
    assert_eq!(sample.host, host);
    assert_eq!(sample.measured_at_us, Timestamp(1_700_000_015_781_000));
    assert!(
        (sample.utilization.share() - 0.4).abs() < 1e-9,
        "{sample:?}"
    );
    assert!((sample.interval_ms - 15_000.0).abs() < 1e-6, "{sample:?}");
    assert_eq!(scraper.failure(&host), None);
    let request = asked.try_recv().unwrap();
    let path = "GET /prometheus/api/v1/query?query=node_cpu_seconds_total%7Binstance%3D%22192.0.2.7%3A9100%22%7D%5B2m%5D ";
    assert!(request.starts_with(path), "{request}");
}

#[tokio::test]
async fn what_a_server_says_of_the_future_is_no_sample() {
    // The year 2100.
    let (url, asked) = serve(ANSWERS.map(|answer| answer.replace("17000000", "41000000")));
    let (scraper, host) = scraper(url);
    let (samples, mut heard) = mpsc::channel(8);
    let third = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            asked.recv_timeout(WITHIN).unwrap();
        }
    });
    tokio::select! {
        () = scraper.run(&samples) => panic!("nobody is asked any more"),
        asked = third => asked.unwrap(),
    }
    assert!(heard.try_recv().is_err(), "a sample of the future");
    let why = scraper.failure(&host).unwrap();
    assert!(why.contains("Its clock is ahead"), "{why}");
}
