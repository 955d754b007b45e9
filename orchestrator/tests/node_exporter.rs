//! Against a real `node_exporter`, Debian's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::Input;
use forestall_orchestrator::prometheus::{Prometheus, Scraper};
use record::{HostName, Sample, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Some polls, and time for a busy machine.
const WITHIN: Duration = Duration::from_secs(30);
const POLL_MS: u64 = 500;

/// Ended when dropped.
struct Exporter(Child);

impl Exporter {
    fn start(address: SocketAddr) -> Self {
        let child = Command::new("prometheus-node-exporter")
            .arg(format!("--web.listen-address={address}"))
            .args(["--collector.disable-defaults", "--collector.cpu"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("prometheus-node-exporter is not installed: scripts/setup.sh --tests"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn sample(inputs: &mut mpsc::Receiver<Input>) -> Sample {
    match timeout(WITHIN, inputs.recv()).await {
        Ok(Some(Input::Sample(sample))) => sample,
        other => panic!("no sample: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_counters_become_samples_and_it_may_go_and_come_back() {
    // Free now; taken by somebody else in the next moment, the exporter ends and no sample comes.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let exporter = Exporter::start(address);
    let host = HostName::new("real").unwrap();
    let scraper = Scraper::new(&Prometheus {
        poll_ms: POLL_MS,
        authorization: None,
        ca_file: None,
        exporters: [(host.clone(), format!("http://{address}/metrics"))].into(),
        server: None,
    })
    .unwrap();
    let (samples, mut heard) = mpsc::channel(64);
    let talk = async {
        let first = sample(&mut heard).await;
        assert_eq!(first.host, host);
        assert!(first.measured_at_us <= Timestamp::now());
        assert_eq!(scraper.failure(&host), None);

        // All processors work, as far as this machine lets them.
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {});
        }
        let mut shares = Vec::new();
        for _ in 0..6 {
            shares.push(sample(&mut heard).await.utilization.share());
        }
        busy.store(false, Ordering::Relaxed);
        assert!(shares.iter().any(|share| *share > 0.8), "{shares:?}");

        drop(exporter);
        let gone = async {
            while scraper.failure(&host).is_none() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(WITHIN, gone).await.unwrap();
        let why = scraper.failure(&host).unwrap();
        assert!(why.contains("does not answer"), "{why}");
        while heard.try_recv().is_ok() {}

        let _again = Exporter::start(address);
        let after = sample(&mut heard).await;
        assert!(after.measured_at_us > first.measured_at_us);
        assert_eq!(scraper.failure(&host), None);
    };
    tokio::select! {
        () = scraper.run(&samples) => panic!("nobody is asked any more"),
        () = talk => {}
    }
}
