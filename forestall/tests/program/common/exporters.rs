//! Two exporters, each of a host with one processor and the load that a test wants at the moment.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::POLL;

pub(crate) struct Exporters {
    urls: Vec<String>,
    processors: Vec<Arc<Mutex<Processor>>>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What it has done so far.
struct Processor {
    load: f64,
    busy_s: f64,
    idle_s: f64,
    until: Instant,
    /// What is said instead of the time that it was busy.
    says: Option<&'static str>,
}

impl Exporters {
    pub(crate) fn start(loads: [f64; 2]) -> Self {
        let mut exporters = Self {
            urls: Vec::new(),
            processors: Vec::new(),
            ends: Arc::default(),
            threads: Vec::new(),
        };
        for load in loads {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            exporters.urls.push(format!("http://{address}/metrics"));
            let processor = Arc::new(Mutex::new(Processor {
                load,
                busy_s: 0.0,
                idle_s: 0.0,
                until: Instant::now(),
                says: None,
            }));
            exporters.processors.push(Arc::clone(&processor));
            let ends = Arc::clone(&exporters.ends);
            let serve = move || serve(&listener, &processor, &ends);
            exporters.threads.push(std::thread::spawn(serve));
        }
        exporters
    }

    pub(crate) fn url(&self, host: usize) -> &str {
        &self.urls[host]
    }

    /// From now on.
    pub(crate) fn set_load(&self, host: usize, load: f64) {
        let mut processor = self.processors[host].lock().unwrap();
        processor.advance();
        processor.load = load;
    }

    /// Says this instead of the time that the processor was busy, from now on; the truth again with nothing.
    pub(crate) fn say(&self, host: usize, says: Option<&'static str>) {
        self.processors[host].lock().unwrap().says = says;
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Processor {
    fn advance(&mut self) {
        let now = Instant::now();
        let passed_s = now.duration_since(self.until).as_secs_f64();
        self.busy_s += passed_s * self.load;
        self.idle_s += passed_s * (1.0 - self.load);
        self.until = now;
    }

    fn metrics(&mut self) -> String {
        self.advance();
        let line = |mode: &str, s: &str| {
            format!("node_cpu_seconds_total{{cpu=\"0\",mode=\"{mode}\"}} {s}\n")
        };
        let busy_s = self.busy_s.to_string();
        line("user", self.says.unwrap_or(&busy_s)) + &line("idle", &self.idle_s.to_string())
    }
}

fn serve(listener: &TcpListener, processor: &Mutex<Processor>, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => answer(stream, processor),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Who asked may have gone away.
fn answer(stream: TcpStream, processor: &Mutex<Processor>) {
    stream.set_nonblocking(false).unwrap();
    let mut lines = BufReader::new(&stream).lines();
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let body = processor.lock().unwrap().metrics();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    drop((&stream).write_all((head + &body).as_bytes()));
}
