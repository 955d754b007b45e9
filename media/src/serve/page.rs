//! The status as a page for people.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::status::{State, Status, StreamStatus};

pub(super) const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2530; --faint: #66717f; --line: #dfe4ea; --ground: #f6f8fa; --card: #fff;
  --live: #1a7f4b; --silent: #b3541e; --waiting: #66717f }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --faint: #93a0ae; --line: #303a46; --ground: #12171d;
  --card: #1a2129; --live: #4cc38a; --silent: #f0a070; --waiting: #93a0ae } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem }
h1 { font-size: 1.4rem; margin: 0 0 .25rem }
p { margin: .25rem 0 1.25rem; color: var(--faint) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 0 0 1.5rem }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem }
dt { color: var(--faint); font-size: .85rem }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
dd small { font-size: .85rem; color: var(--faint) }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .6rem .9rem; white-space: nowrap; border-top: 1px solid var(--line) }
thead th { border-top: 0; color: var(--faint); font-weight: 500; font-size: .85rem }
th:first-child, td:first-child, .left { text-align: left }
a { color: inherit }
.state::before { content: ''; display: inline-block; width: .6em; height: .6em; border-radius: 50%; margin-right: .5em;
  background: currentColor }
.live { color: var(--live) } .silent { color: var(--silent) } .waiting { color: var(--waiting) }
.empty { padding: 2rem; text-align: center; color: var(--faint) }
";

/// Takes the page anew and puts its figures in place of the old ones; without scripts it is reloaded by hand.
const SCRIPT: &str = "
const refresh = async () => {
  try {
    const answer = await fetch(location.href, { cache: 'no-store' });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    document.querySelector('main').replaceWith(page.querySelector('main'));
    document.title = page.title;
  } catch { document.title = 'no answer – Forestall'; }
};
setInterval(refresh, 1000);
// A token in this page's address is also good for its links.
document.addEventListener('click', event => {
  const link = event.target.closest('a[href^=\"/\"]');
  if (link && location.search) { event.preventDefault(); location.href = link.getAttribute('href') + location.search; }
});
";

/// The whole page.
pub(super) fn page(status: &Status) -> Markup {
    let live = status
        .streams
        .iter()
        .filter(|stream| stream.state == State::Live);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (live.count()) " live – Forestall" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (content(status))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn content(status: &Status) -> Markup {
    let sum = |figure: fn(&StreamStatus) -> u64| status.streams.iter().map(figure).sum::<u64>();
    html! {
        main {
            h1 { "Live streams" }
            p {
                "Forestall " (status.version) ", up for " (duration(status.uptime_s)) ". The same for programs: "
                a href="/status.json" { "status.json" }
            }
            dl.figures {
                (figure("Streams", html! { (status.streams.len()) small { " of " (status.streams_max) } }))
                (figure("Viewers", html! { (status.viewers) small { " of " (status.viewers_max) } }))
                (figure("In", bit_rate(sum(|stream| stream.bitrate_in_bps))))
                (figure("Out", bit_rate(sum(|stream| stream.bitrate_out_bps))))
                (figure("Connections", html! { (status.connections) small { " of " (status.connections_max) } }))
                (figure("Turned away", html! {
                    (status.connections_refused + status.denied)
                    small { ", " (status.timed_out) " timed out" }
                }))
            }
            div.scroll { (table(&status.streams)) }
        }
    }
}

fn figure(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn table(streams: &[StreamStatus]) -> Markup {
    if streams.is_empty() {
        return html! { div.empty { "No streams yet. Publish one to /publish/NAME." } };
    }
    html! {
        table {
            thead {
                tr {
                    th { "Stream" } th.left { "State" } th.left { "Publisher" } th { "Viewers" } th { "In" } th { "Out" }
                    th { "Frames/s" } th { "Packets lost" } th { "GOPs lost" } th { "Kept" } th { "For players" }
                }
            }
            tbody { @for stream in streams { (row(stream)) } }
        }
    }
}

fn row(stream: &StreamStatus) -> Markup {
    let (class, state) = match stream.state {
        State::Live => ("live", "live".to_owned()),
        State::Waiting => ("waiting", "waiting".to_owned()),
        State::Silent => {
            let seconds = stream.silent_ms.unwrap_or(0) / 1000;
            ("silent", format!("silent for {}", duration(seconds)))
        }
    };
    html! {
        tr {
            td { a href={ "/play/" (stream.name) } { (stream.name) } }
            td.left { span class={ "state " (class) } { (state) } @if let Some(codec) = stream.codec { " · " (codec) } }
            td.left { (stream.publisher.as_deref().unwrap_or("–")) }
            td { (stream.viewers) }
            td { (bit_rate(stream.bitrate_in_bps)) }
            td { (bit_rate(stream.bitrate_out_bps)) }
            td { (stream.frames_per_s) }
            td { (stream.packets_lost) }
            td { (stream.gops_lost) }
            td { (stream.kept_bytes / 1024) " KiB" }
            td { a href={ "/" (stream.name) ".ts" } { (stream.name) ".ts" } }
        }
    }
}

fn bit_rate(bits: u64) -> Markup {
    let (value, unit) = match bits {
        0..1_000_000 => (bits as f64 / 1e3, "kbit/s"),
        _ => (bits as f64 / 1e6, "Mbit/s"),
    };
    html! { (format!("{value:.1}")) small { " " (unit) } }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (7260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn rates() {
        assert!(bit_rate(999_900).into_string().starts_with("999.9"));
        assert!(bit_rate(1_500_000).into_string().contains("Mbit/s"));
    }
}
