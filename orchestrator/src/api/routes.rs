//! What is answered to which request. `openapi.json` describes it for others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use control::view::{Freshness, FunctionView, HostView, MoveView};
use control::{Input, Trust};
use record::decision::{HoldReason, MigrationId};
use record::report::Report;
use record::{Decision, Event, HostName, Timestamp, VmName};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::explain;
use crate::journal::history::{History, Load, MoveRecord};
use crate::journal::{JournalError, Learned};
use crate::knees::KneeStatus;
use crate::progress::CopyProgress;
use crate::reports::{NotTaken, Viewed};
use crate::run::{Request, Site};
use crate::survey::Seen;

use super::guard::REPORTS;
use super::metrics;

const PAGE: &str = include_str!("page/dashboard.html");
const SCRIPT: &str = include_str!("page/dashboard.js");
const STYLE: &str = include_str!("page/dashboard.css");
const OPENAPI: &str = include_str!("openapi.json");

/// Moves that are listed where nothing is said.
const MOVES: usize = 20;
/// Load that is shown where nothing is said.
const LOAD_S: f64 = 600.0;
/// Decisions of a host or a function that are told with it.
const RECENT: usize = 5;

#[derive(Clone, Debug)]
struct Context {
    journal: PathBuf,
    requests: mpsc::Sender<Request>,
}

/// An orchestrator in a few figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// When it began.
    pub begun_at_us: Timestamp,
    /// Now.
    pub at_us: Timestamp,
    /// Name of the policy.
    pub policy: String,
    /// What it may do by itself.
    pub trust: Trust,
    /// Whether it may begin moves.
    pub armed: bool,
    /// Hosts by what their samples are worth.
    pub hosts_fresh: usize,
    /// Hosts whose newest sample is too old.
    pub hosts_stale: usize,
    /// Hosts of which nothing is heard.
    pub hosts_silent: usize,
    /// Functions.
    pub functions: usize,
    /// Viewers that say what they see.
    pub viewers: usize,
    /// Moves without a verdict.
    pub moves: Vec<MoveView>,
    /// How far copying is of those whose engine says it.
    #[serde(default)]
    pub progress: BTreeMap<MigrationId, CopyProgress>,
    /// Moves that wait for approval: what would move, and where to.
    pub recommended: Vec<Recommended>,
    /// Functions that a person has to look after.
    pub given_up: Vec<VmName>,
    /// By how many seconds the system's clock is ahead of the orchestrator's; `null` where nobody has set it since that began.
    pub clock_off_s: Option<f64>,
    /// What the engine did not say when it was last asked for functions, and what else of its answer a person should know.
    #[serde(default)]
    pub discovery: Vec<String>,
}

/// A move that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommended {
    /// What would move.
    pub vm: VmName,
    /// From where.
    pub source: HostName,
    /// Where to.
    pub target: HostName,
}

/// A function, and what was last seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionStatus {
    /// What the controller knows.
    #[serde(flatten)]
    pub view: FunctionView,
    /// What was seen; `null` before the first look.
    pub seen: Option<Seen>,
    /// What its viewers see; `null` where none of them says it.
    pub viewed: Option<Viewed>,
    /// What its moves have taught of the next one; `null` where none has arrived.
    pub learned: Option<Learned>,
}

/// A host, and what its viewers have taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// What the controller knows.
    #[serde(flatten)]
    pub view: HostView,
    /// Of its knee; `null` where no viewer has said anything that teaches.
    pub taught: Option<KneeStatus>,
}

/// Why something is as it is, in plain words, with the decisions that say so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The words, a line each.
    pub lines: Vec<String>,
    /// What they rest on.
    pub decisions: Vec<Decision>,
}

/// Why a request is not answered as asked.
#[derive(Debug)]
enum Refusal {
    /// There is no such thing.
    Unknown(String),
    /// The request is wrong.
    Wrong(String),
    /// There is no room for it.
    Full(String),
    /// The journal cannot be read.
    Journal(JournalError),
    /// The orchestrator is ending.
    Ending,
    /// The move cannot begin.
    Declined(String),
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, words) = match self {
            Self::Unknown(what) => (StatusCode::NOT_FOUND, format!("there is no {what}")),
            Self::Wrong(words) => (StatusCode::BAD_REQUEST, words),
            Self::Full(words) => (StatusCode::TOO_MANY_REQUESTS, words),
            Self::Journal(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::Ending => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the orchestrator is ending".into(),
            ),
            Self::Declined(why) => (StatusCode::CONFLICT, why),
        };
        (status, Json(serde_json::json!({ "error": words }))).into_response()
    }
}

type Answer<T> = Result<Json<T>, Refusal>;

pub(super) fn router(journal: PathBuf, requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/dashboard.js", get(|| text("text/javascript", SCRIPT)))
        .route("/dashboard.css", get(|| text("text/css", STYLE)))
        .route("/metrics", get(metrics_text))
        .route(
            "/v1/openapi.json",
            get(|| text("application/json", OPENAPI)),
        )
        .route("/v1/status", get(status))
        .route("/v1/site", get(whole_site))
        .route("/v1/hosts", get(hosts))
        .route("/v1/hosts/{host}/load", get(load))
        .route("/v1/hosts/{host}/why", get(why_host))
        .route("/v1/hosts/{host}/drain", post(drain))
        .route("/v1/hosts/{host}/undrain", post(undrain))
        .route("/v1/hosts/{host}/forget-knee", post(forget_knee))
        .route("/v1/functions", get(functions))
        .route("/v1/functions/{vm}/why", get(why_function))
        .route("/v1/functions/{vm}/move", post(order))
        .route("/v1/functions/{vm}/approve", post(approve))
        .route("/v1/functions/{vm}/release", post(release))
        .route("/v1/moves", get(moves))
        .route("/v1/moves/{migration}", get(one_move))
        .route("/v1/moves/{migration}/why", get(why_move))
        .route(REPORTS, post(report))
        .route("/v1/arm", post(arm))
        .route("/v1/disarm", post(disarm))
        .with_state(Context { journal, requests })
}

async fn text(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

impl Context {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| Refusal::Ending)?;
        answered.await.map_err(|_| Refusal::Ending)
    }

    async fn site(&self) -> Result<Site, Refusal> {
        self.ask(Request::Site).await
    }

    async fn tell(&self, input: Input) -> Result<Vec<Decision>, Refusal> {
        self.ask(|answer| Request::Tell(input, answer)).await
    }

    /// Says something of a host that there is.
    async fn of_host(
        &self,
        name: &str,
        input: impl FnOnce(HostName) -> Input,
    ) -> Answer<Vec<Decision>> {
        let host = self.host(name).await?.view.host;
        self.tell(input(host)).await.map(Json)
    }

    /// Wants a function at a host: the move that began, or why none did.
    async fn want(
        &self,
        name: &str,
        wanted: &Wanted,
        input: impl FnOnce(VmName, HostName) -> Input,
    ) -> Answer<MoveView> {
        let vm = self.function(name).await?.view.vm;
        let target = self.host(wanted.target.as_str()).await?.view.host;
        let decisions = self.tell(input(vm.clone(), target)).await?;
        begun(&vm, decisions)
    }

    /// Reads the journal where it may wait for the disk.
    async fn history<T: Send + 'static>(
        &self,
        read: impl FnOnce(&History) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let path = self.journal.clone();
        let reading = tokio::task::spawn_blocking(move || read(&History::open(&path)?));
        Ok(reading.await.map_err(|_| Refusal::Ending)??)
    }

    /// Writes beside moves that are open how far copying is.
    async fn tell_progress(&self, moves: &mut [MoveRecord]) -> Result<(), Refusal> {
        if moves.iter().all(|one| one.verdict.is_some()) {
            return Ok(());
        }
        let progress = self.site().await?.progress;
        for one in moves {
            one.progress = progress.get(&one.migration).copied();
        }
        Ok(())
    }

    async fn hosts(&self) -> Result<impl Iterator<Item = HostStatus>, Refusal> {
        let mut site = self.site().await?;
        let hosts = site.view.hosts.into_iter();
        Ok(hosts.map(move |view| HostStatus {
            taught: site.knees.remove(&view.host),
            view,
        }))
    }

    async fn host(&self, name: &str) -> Result<HostStatus, Refusal> {
        let mut hosts = self.hosts().await?;
        hosts
            .find(|host| host.view.host.as_str() == name)
            .ok_or_else(|| Refusal::Unknown(format!("host {name}")))
    }

    async fn functions(&self) -> Result<impl Iterator<Item = FunctionStatus>, Refusal> {
        let site = self.site().await?;
        let (mut sightings, mut views, mut learned) = (site.sightings, site.views, site.learned);
        let functions = site.view.functions.into_iter();
        Ok(functions.map(move |view| FunctionStatus {
            seen: sightings.remove(&view.vm),
            viewed: views.remove(&view.vm),
            learned: learned.remove(&view.vm),
            view,
        }))
    }

    async fn function(&self, name: &str) -> Result<FunctionStatus, Refusal> {
        let mut functions = self.functions().await?;
        functions
            .find(|function| function.view.vm.as_str() == name)
            .ok_or_else(|| Refusal::Unknown(format!("function {name}")))
    }
}

async fn status(State(context): State<Context>) -> Answer<Status> {
    let site = context.site().await?;
    let view = site.view;
    let count = |wanted| view.hosts.iter().filter(|h| h.freshness == wanted).count();
    let recommended = view.hosts.iter().filter_map(|host| match &host.holding {
        Some(HoldReason::HeldBack {
            restraint: record::decision::Restraint::Approval,
            vm,
            target,
            ..
        }) => Some(Recommended {
            vm: vm.clone(),
            source: host.host.clone(),
            target: target.clone(),
        }),
        _ => None,
    });
    let given_up = view.functions.iter().filter(|function| function.given_up);
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        begun_at_us: site.begun_at_us,
        at_us: view.at_us,
        policy: view.policy.clone(),
        trust: view.trust,
        armed: view.armed,
        hosts_fresh: count(Freshness::Fresh),
        hosts_stale: count(Freshness::Stale),
        hosts_silent: count(Freshness::Silent),
        functions: view.functions.len(),
        viewers: site.views.values().map(|view| view.viewers).sum(),
        recommended: recommended.collect(),
        given_up: given_up.map(|function| function.vm.clone()).collect(),
        moves: view.moves,
        progress: site.progress,
        clock_off_s: site.clock_off_s,
        discovery: site.discovery,
    }))
}

/// All there is to see, and in words why nothing leaves each host, and what viewers have taught of its knee.
#[derive(Serialize)]
struct WholeSite {
    #[serde(flatten)]
    site: Site,
    why: BTreeMap<HostName, String>,
    taught: BTreeMap<HostName, String>,
}

async fn whole_site(State(context): State<Context>) -> Answer<WholeSite> {
    let site = context.site().await?;
    let taught = site.view.hosts.iter().filter_map(|host| {
        let (name, status) = (&host.host, site.knees.get(&host.host)?);
        let words = explain::of_knee(site.view.at_us, name, &host.evidence, status)?;
        Some((name.clone(), words))
    });
    let taught = taught.collect();
    let holding = site.view.hosts.iter();
    let why = holding.filter_map(|host| {
        let reason = host.holding.as_ref()?;
        Some((host.host.clone(), explain::of_hold(site.view.at_us, reason)))
    });
    let why = why.collect();
    Ok(Json(WholeSite { site, why, taught }))
}

async fn hosts(State(context): State<Context>) -> Answer<Vec<HostStatus>> {
    Ok(Json(context.hosts().await?.collect()))
}

async fn functions(State(context): State<Context>) -> Answer<Vec<FunctionStatus>> {
    Ok(Json(context.functions().await?.collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MovesQuery {
    limit: Option<usize>,
}

async fn moves(
    State(context): State<Context>,
    Query(query): Query<MovesQuery>,
) -> Answer<Vec<MoveRecord>> {
    let limit = query.limit.unwrap_or(MOVES);
    let read = move |history: &History| history.moves(limit);
    let mut moves = context.history(read).await?;
    context.tell_progress(&mut moves).await?;
    Ok(Json(moves))
}

async fn one_move(
    State(context): State<Context>,
    Path(migration): Path<u64>,
) -> Answer<MoveRecord> {
    let read = move |history: &History| history.one_move(migration);
    let found = context.history(read).await?;
    let mut found = found.ok_or_else(|| Refusal::Unknown(format!("move {migration}")))?;
    let one = std::slice::from_mut(&mut found);
    context.tell_progress(one).await?;
    Ok(Json(found))
}

async fn why_move(State(context): State<Context>, Path(migration): Path<u64>) -> Answer<Explained> {
    let read = move |history: &History| history.of_move(migration);
    let decisions = context.history(read).await?;
    if decisions.is_empty() {
        return Err(Refusal::Unknown(format!("move {migration}")));
    }
    let mut lines = explain::of_move(&decisions);
    let is_over = |decision: &Decision| matches!(decision.event, Event::Settled { .. });
    if !decisions.iter().any(is_over) {
        let progress = context.site().await?.progress;
        let progress = progress.get(&migration).map(explain::of_progress);
        lines.extend(progress.map(|words| format!("Copying is so far: {words}.")));
    }
    Ok(Json(Explained { lines, decisions }))
}

async fn why_host(State(context): State<Context>, Path(name): Path<String>) -> Answer<Explained> {
    let host = context.host(&name).await?;
    explain_host(&context, host, &[]).await.map(Json)
}

/// A function in a move is explained by that move, another one by itself and by its host.
async fn why_function(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Answer<Explained> {
    let status = context.function(&name).await?;
    let function = status.view;
    let now = clock::now();
    let mut lines = explain::of_function(now, &function);
    lines.push(explain::of_gap(status.learned.as_ref()));
    if let Some(migration) = function.migration {
        let Json(of_move) = why_move(State(context), Path(migration)).await?;
        lines.push(format!("It is in move {migration}:"));
        lines.extend(of_move.lines);
        let decisions = of_move.decisions;
        return Ok(Json(Explained { lines, decisions }));
    }
    let vm = function.vm;
    let read = move |history: &History| history.of_function(&vm, RECENT);
    let mut decisions = context.history(read).await?;
    lines.extend(newest_first(now, "What was decided of it", &decisions));
    let host = context.host(function.host.as_str()).await?;
    let of_host = explain_host(&context, host, &decisions).await?;
    lines.extend(of_host.lines);
    decisions.extend(of_host.decisions);
    Ok(Json(Explained { lines, decisions }))
}

/// Why nothing leaves a host, and what was decided of it but for what is `told` already.
async fn explain_host(
    context: &Context,
    host: HostStatus,
    told: &[Decision],
) -> Result<Explained, Refusal> {
    let HostStatus { view: host, taught } = host;
    let name = host.host.clone();
    let read = move |history: &History| history.of_host(&name, RECENT);
    let mut decisions = context.history(read).await?;
    decisions.retain(|decision| !told.contains(decision));
    let now = clock::now();
    let why = host.holding.as_ref().map_or_else(
        || format!("a function is leaving {}", host.host),
        |reason| {
            let why = explain::of_hold(now, reason);
            format!("nothing leaves {}: {why}", host.host)
        },
    );
    let mut lines = vec![why, explain::of_evidence(now, &host.evidence)];
    let knee = |taught| explain::of_knee(now, &host.host, &host.evidence, &taught);
    lines.extend(taught.and_then(knee));
    lines.extend(newest_first(now, "Before that", &decisions));
    Ok(Explained { lines, decisions })
}

/// Decisions a line each, under a head; nothing where there are none.
fn newest_first(now: Timestamp, head: &str, decisions: &[Decision]) -> Vec<String> {
    let head = (!decisions.is_empty()).then(|| format!("{head}, newest first:"));
    let told = decisions.iter().map(|decision| {
        let ago = now.since(decision.at_us).as_secs_f64();
        let words = explain::of_decision(decision);
        format!("{ago:8.1} s ago  {words}")
    });
    head.into_iter().chain(told).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    since_s: Option<f64>,
}

async fn load(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(query): Query<LoadQuery>,
) -> Answer<Vec<Load>> {
    let host = context.host(&name).await?.view.host;
    let ago = Duration::try_from_secs_f64(query.since_s.unwrap_or(LOAD_S));
    let ago =
        ago.map_err(|_| Refusal::Wrong("since_s is a number of seconds, 0 or more".into()))?;
    let since = clock::now() - ago;
    let read = move |history: &History| history.load(&host, since);
    context.history(read).await.map(Json)
}

/// Nothing has to be said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Where a function is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    target: HostName,
}

async fn order(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Answer<MoveView> {
    let input = |vm, target| Input::Order { vm, target };
    context.want(&name, &wanted, input).await
}

async fn approve(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Answer<MoveView> {
    let input = |vm, target| Input::Approve { vm, target };
    context.want(&name, &wanted, input).await
}

/// The move that began, or why none did.
fn begun(wanted: &VmName, decisions: Vec<Decision>) -> Answer<MoveView> {
    for decision in decisions {
        match decision.event {
            Event::Start {
                migration,
                vm,
                source,
                target,
                ..
            } if vm == *wanted => {
                return Ok(Json(MoveView {
                    migration,
                    vm,
                    source,
                    target,
                    stage: "copying".into(),
                    failure: None,
                }));
            }
            Event::Declined { why, .. } => {
                let why = explain::of_hold(decision.at_us, &why);
                return Err(Refusal::Declined(why));
            }
            _ => {}
        }
    }
    Err(Refusal::Ending)
}

async fn release(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    let vm = context.function(&name).await?.view.vm;
    context.tell(Input::Release { vm }).await.map(Json)
}

async fn drain(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    context.of_host(&name, |host| Input::Drain { host }).await
}

async fn undrain(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    context.of_host(&name, |host| Input::Undrain { host }).await
}

async fn forget_knee(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    let knee = None;
    let input = |host| Input::Knee { host, knee };
    context.of_host(&name, input).await
}

async fn arm(
    State(context): State<Context>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    context.tell(Input::Arm).await.map(Json)
}

async fn disarm(
    State(context): State<Context>,
    Json(Nothing {}): Json<Nothing>,
) -> Answer<Vec<Decision>> {
    context.tell(Input::Disarm).await.map(Json)
}

/// What a viewer saw. Functions are not looked for here: with many viewers that would be most of what the loop does.
async fn report(
    State(context): State<Context>,
    Json(report): Json<Report>,
) -> Answer<serde_json::Value> {
    let checked = report.check();
    checked.map_err(|error| Refusal::Wrong(error.to_string()))?;
    let function = report.function.clone();
    let taken = context.ask(|answer| Request::Report(report, answer));
    match taken.await? {
        Ok(()) => Ok(Json(serde_json::json!({}))),
        Err(NotTaken::Function) => Err(Refusal::Unknown(format!("function {function}"))),
        Err(full @ NotTaken::Viewers) => Err(Refusal::Full(full.to_string())),
    }
}

async fn metrics_text(State(context): State<Context>) -> Result<Response, Refusal> {
    let site = context.site().await?;
    let text = metrics::text(&site).map_err(|_| Refusal::Ending)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
