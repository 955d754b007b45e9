//! One poller for all agents, without IO: whom to ask when, and what each datagram that comes is worth.
//!
//! A poll is one question to one agent. It may take several requests (an agent of which nothing is known, more processors
//! than fit into an answer), each sent only upon the answer to the one before. It ends with values, with an error that the
//! agent states, or with its time; there is no retry but the next poll. What happens to a request:
//!
//! ```text
//!            its answer                    the same once more: doubled
//!  Open ────────────────▶ Answered ──────▶ …
//!   │ time is over: lost           its answer, before a newer one: late
//!   └────────────────────▶ Overdue ──────▶ its answer, after a newer one: reordered
//! ```
//!
//! Whatever is not of this picture (another address, community or signature, a number that nobody asked for) is forged, and
//! changes nothing: the request stays open for the right answer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_snmp::Pdu;
use async_snmp::v3::ReportStatus;
use bytes::Bytes;

use super::config::{Access, Snmp, SnmpError};
use super::failure::Failure;
use super::message::{Message, Speaks};
use super::mib::{Content, Question, Reading};
use super::schedule::Schedule;
use super::tally::{Tally, Totals};
use super::usm::{Doubt, Engine, Opened};

/// A request is remembered for so long after its time was over, so that a late or doubled answer is known for what it is.
const REMEMBER: Duration = Duration::from_secs(10);
/// Steps of getting to know an agent in one poll: its id, its time, and its time again if it has just been restarted.
const STEPS_MAX: u32 = 3;
/// A forged answer of an agent is told of at most so often.
const FORGED_TOLD_EVERY: Duration = Duration::from_secs(60);
/// An agent that had no counters is asked for them again after so many polls: a restart may have given it some.
const TICKS_AGAIN_AFTER: u32 = 600;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Index of the agent, in the order of the hosts' names.
    pub agent: usize,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub datagram: Bytes,
}

/// What came of a poll.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The agent answered.
    Reading {
        /// Index of the agent.
        agent: usize,
        /// With what.
        reading: Reading,
    },
    /// The poll ended without values.
    Failed {
        /// Index of the agent.
        agent: usize,
        /// Why.
        failure: Failure,
    },
    /// The agent has no counters: `hrProcessorLoad`, a mean over the last minute, is asked instead.
    OneMinuteOnly {
        /// Index of the agent.
        agent: usize,
    },
    /// An answer came that the agent cannot have sent; told of at most once a minute.
    Forged {
        /// Index of the agent.
        agent: usize,
        /// Address that it came from.
        from: SocketAddr,
    },
}

/// See the [module](self).
pub struct Poller {
    speaks: Speaks,
    agents: Vec<Agent>,
    by_address: HashMap<SocketAddr, usize>,
    requests: HashMap<i32, Request>,
    /// Deadlines of polls, in their order.
    deadlines: VecDeque<(Instant, (usize, u64))>,
    /// Numbers of requests in the order in which they are forgotten.
    forget: VecDeque<(Instant, i32)>,
    schedule: Schedule,
    answer_within: Duration,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Datagrams from addresses that are no agent's.
    strays: u64,
    /// Polls that were due while the one before had not ended.
    skipped: u64,
    chance: u64,
}

struct Agent {
    address: SocketAddr,
    /// v3: what is known of its engine.
    engine: Option<Engine>,
    /// v3: whether it ever answered what was encrypted.
    decrypts: bool,
    /// Polls until it is asked for counters again, which it did not have.
    ticks_again_in: Option<u32>,
    poll: Option<Poll>,
    polls: u64,
    /// Number of the newest poll that was answered.
    answered: u64,
    tally: Tally,
    forged_told: Option<Instant>,
}

/// The poll of an agent that has not ended.
struct Poll {
    number: u64,
    /// The newest request of it.
    request: i32,
    /// Steps of getting to know the agent that it took so far.
    steps: u32,
    /// What went wrong so far, short of the right answer.
    note: Option<Failure>,
}

struct Request {
    agent: usize,
    poll: u64,
    state: State,
    /// Taken by the answer.
    question: Question,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Overdue,
    Answered,
}

/// What an answer that is believed says.
enum Said {
    Pdu(Pdu),
    /// The next step of getting to know an engine is possible.
    Step,
    Report(Failure),
}

impl Poller {
    /// Of these agents, from `now` on. `chance` makes the numbers of the requests hard to guess.
    ///
    /// # Errors
    /// When there are no keys or random numbers to be had.
    pub fn new(snmp: &Snmp, access: &Access, now: Instant, chance: u64) -> Result<Self, SnmpError> {
        let speaks = Speaks::new(access)?;
        let agents: Vec<Agent> = snmp.agents.values().copied().map(Agent::new).collect();
        let by_address = agents.iter().enumerate();
        Ok(Self {
            speaks,
            by_address: by_address.map(|(index, a)| (a.address, index)).collect(),
            requests: HashMap::new(),
            deadlines: VecDeque::new(),
            forget: VecDeque::new(),
            schedule: Schedule::new(now, snmp.period(), agents.len()),
            answer_within: snmp.answer_within(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            strays: 0,
            skipped: 0,
            chance,
            agents,
        })
    }

    /// Ends what is over and asks who is due.
    pub fn poll(&mut self, now: Instant) {
        while let Some((agent, poll)) = take_due(&mut self.deadlines, now) {
            self.overdue(agent, poll);
        }
        while let Some(id) = take_due(&mut self.forget, now) {
            self.requests.remove(&id);
        }
        while let Some(agent) = self.schedule.due(now) {
            self.ask(agent, now);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What came of a poll.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::poll`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        [self.schedule.next_at(), deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// The system would not send a request to this agent.
    pub fn not_sent(&mut self, agent: usize, why: String) {
        if let Some(poll) = &mut self.agents[agent].poll {
            poll.note = Some(Failure::NotSent(why));
        }
    }

    /// Takes a datagram that came at `now`.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let datagram = Bytes::copy_from_slice(datagram);
        let sender = self.by_address.get(&from).copied();
        let message = match Message::read(&self.speaks, datagram) {
            Ok(message) => message,
            Err(Doubt::Malformed) => return self.count_malformed(sender),
            Err(_) => return self.count_forged(sender, from, now, Failure::ForgedOnly),
        };
        let Some(request) = self.requests.get(&message.id()) else {
            return self.count_forged(sender, from, now, Failure::ForgedOnly);
        };
        let (agent, poll, state) = (request.agent, request.poll, request.state);
        if sender != Some(agent) {
            return self.count_forged(Some(agent), from, now, Failure::ElsewhereOnly(from));
        }
        let said = match self.agents[agent].open(&self.speaks, now, &message) {
            Ok(said) => said,
            Err(Doubt::Malformed) => return self.count_malformed(sender),
            Err(Doubt::Signature) => {
                return self.count_forged(sender, from, now, Failure::ForgedOnly);
            }
            Err(Doubt::Replayed) => {
                return self.count_forged(sender, from, now, Failure::ReplayedOnly);
            }
        };
        let agent_of = &mut self.agents[agent];
        match state {
            State::Answered => agent_of.tally.doubled += 1,
            State::Overdue => {
                agent_of.tally.lost = agent_of.tally.lost.saturating_sub(1);
                if poll < agent_of.answered {
                    agent_of.tally.reordered += 1;
                } else {
                    agent_of.tally.late += 1;
                }
                self.answered(message.id());
            }
            State::Open => self.take(agent, message.id(), said, now),
        }
    }

    /// Counts of one agent.
    #[must_use]
    pub fn tally(&self, agent: usize) -> Tally {
        self.agents[agent].tally
    }

    /// Counts of all agents.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut tally = Tally::default();
        for agent in &self.agents {
            tally += agent.tally;
        }
        Totals {
            tally,
            skipped: self.skipped + self.schedule.missed(),
            strays: self.strays,
        }
    }

    fn overdue(&mut self, index: usize, number: u64) {
        let agent = &mut self.agents[index];
        let Some(poll) = agent.poll.take_if(|poll| poll.number == number) else {
            return;
        };
        agent.tally.lost += 1;
        let failure = poll.note.unwrap_or_else(|| agent.silence());
        if failure == Failure::AnotherEngine {
            agent.engine = None;
        }
        if let Some(request) = self.requests.get_mut(&poll.request) {
            request.state = State::Overdue;
        }
        self.events.push_back(Event::Failed {
            agent: index,
            failure,
        });
    }

    fn ask(&mut self, index: usize, now: Instant) {
        let agent = &mut self.agents[index];
        // Only when answers may take longer than the period.
        if agent.poll.is_some() {
            self.skipped += 1;
            return;
        }
        agent.tally.asked += 1;
        agent.polls += 1;
        let number = agent.polls;
        agent.poll = Some(Poll {
            number,
            request: 0,
            steps: 0,
            note: None,
        });
        let question = agent.question();
        self.deadlines
            .push_back((now + self.answer_within, (index, number)));
        self.send(index, question, now);
    }

    /// Sends the next request of an agent's poll.
    fn send(&mut self, index: usize, question: Question, now: Instant) {
        let id = self.unused_id();
        let agent = &mut self.agents[index];
        let Some(poll) = &mut agent.poll else { return };
        poll.request = id;
        let number = poll.number;
        match self
            .speaks
            .request(agent.engine.as_ref(), now, id, &question)
        {
            Ok(datagram) => self.transmits.push_back(Transmit {
                agent: index,
                to: agent.address,
                datagram,
            }),
            Err(error) => return self.end(index, Failure::NotSent(error.to_string())),
        }
        let request = Request {
            agent: index,
            poll: number,
            state: State::Open,
            question,
        };
        self.requests.insert(id, request);
        self.forget
            .push_back((now + self.answer_within + REMEMBER, id));
    }

    /// Takes the answer to an open request.
    fn take(&mut self, index: usize, id: i32, said: Said, now: Instant) {
        let agent = &mut self.agents[index];
        let pdu = match said {
            // Anybody can have stated it: the right answer is waited for.
            Said::Report(failure) => {
                if let Some(poll) = &mut agent.poll {
                    poll.note = Some(failure);
                }
                return;
            }
            Said::Step => return self.step(index, id, now),
            Said::Pdu(pdu) => pdu,
        };
        agent.decrypts = true;
        let Some(question) = self.answered(id) else {
            return;
        };
        let status = pdu.error_status_enum();
        if status != async_snmp::ErrorStatus::NoError {
            return self.end(index, Failure::ErrorStatus(status.to_string()));
        }
        let ticks = question == Question::Ticks;
        let agent = &mut self.agents[index];
        agent.tally.varbinds += pdu.varbinds().len() as u64;
        match question.read(pdu.varbinds()) {
            Ok(Content::Load(up_time, load)) => {
                agent.tally.answered += 1;
                agent.answered = agent.polls;
                agent.poll = None;
                let boots = agent.engine.as_ref().and_then(Engine::boots);
                self.events.push_back(Event::Reading {
                    agent: index,
                    reading: Reading {
                        up_time,
                        boots,
                        load,
                    },
                });
            }
            Ok(Content::More(question)) => self.send(index, question, now),
            Ok(Content::Absent) if ticks => {
                agent.ticks_again_in = Some(TICKS_AGAIN_AFTER);
                self.events.push_back(Event::OneMinuteOnly { agent: index });
                self.send(index, Question::processors(), now);
            }
            Ok(Content::Absent) => {
                agent.ticks_again_in = None;
                self.end(index, Failure::NoLoad);
            }
            Err(nonsense) => self.end(index, Failure::Nonsense(nonsense.0)),
        }
    }

    /// Asks the same again, now that more is known of the agent.
    fn step(&mut self, index: usize, id: i32, now: Instant) {
        let Some(question) = self.answered(id) else {
            return;
        };
        let Some(poll) = &mut self.agents[index].poll else {
            return;
        };
        poll.steps += 1;
        if poll.steps > STEPS_MAX {
            let endless = "it finds our time wrong though it is its own".into();
            return self.end(index, Failure::Nonsense(endless));
        }
        self.send(index, question, now);
    }

    /// Marks a request as answered; its question, the first time.
    fn answered(&mut self, id: i32) -> Option<Question> {
        let request = self.requests.get_mut(&id)?;
        if request.state == State::Answered {
            return None;
        }
        request.state = State::Answered;
        Some(std::mem::replace(&mut request.question, Question::Ticks))
    }

    /// Ends an agent's poll with an error that is not silence.
    fn end(&mut self, agent: usize, failure: Failure) {
        let of = &mut self.agents[agent];
        of.poll = None;
        of.answered = of.polls;
        of.tally.refused += 1;
        self.events.push_back(Event::Failed { agent, failure });
    }

    fn count_malformed(&mut self, sender: Option<usize>) {
        let Some(agent) = sender.and_then(|index| self.agents.get_mut(index)) else {
            self.strays += 1;
            return;
        };
        agent.tally.malformed += 1;
        agent.note_if_none(Failure::MalformedOnly);
    }

    fn count_forged(
        &mut self,
        index: Option<usize>,
        from: SocketAddr,
        now: Instant,
        failure: Failure,
    ) {
        let Some(agent) = index.and_then(|index| self.agents.get_mut(index)) else {
            self.strays += 1;
            return;
        };
        agent.tally.forged += 1;
        agent.note_if_none(failure);
        let told = agent.forged_told;
        if told.is_none_or(|told| now.saturating_duration_since(told) >= FORGED_TOLD_EVERY) {
            agent.forged_told = Some(now);
            let agent = index.unwrap_or_default();
            self.events.push_back(Event::Forged { agent, from });
        }
    }

    /// A number that no remembered request has, positive as agents like it. (SplitMix64, Steele et al., OOPSLA 2014.)
    fn unused_id(&mut self) -> i32 {
        loop {
            self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.chance;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = ((z ^ (z >> 31)) >> 33) as i32;
            if id != 0 && !self.requests.contains_key(&id) {
                return id;
            }
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("agents", &self.agents.len())
            .finish_non_exhaustive()
    }
}

impl Agent {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            engine: None,
            decrypts: false,
            ticks_again_in: None,
            poll: None,
            polls: 0,
            answered: 0,
            tally: Tally::default(),
            forged_told: None,
        }
    }

    /// What to ask it in a new poll.
    fn question(&mut self) -> Question {
        self.ticks_again_in = self.ticks_again_in.and_then(|polls| polls.checked_sub(1));
        if self.ticks_again_in.is_some() {
            Question::processors()
        } else {
            Question::Ticks
        }
    }

    /// What silence means.
    fn silence(&self) -> Failure {
        let proved = self
            .engine
            .as_ref()
            .is_some_and(|engine| engine.boots().is_some());
        if proved && !self.decrypts {
            Failure::SilentWhenEncrypted
        } else {
            Failure::Silent
        }
    }

    /// Notes what went wrong, unless something that tells more was.
    fn note_if_none(&mut self, failure: Failure) {
        if let Some(poll) = &mut self.poll {
            poll.note.get_or_insert(failure);
        }
    }

    fn open(&mut self, speaks: &Speaks, now: Instant, message: &Message) -> Result<Said, Doubt> {
        let (user, raw, datagram) = match (speaks, message) {
            (_, Message::V2c(pdu)) => return Ok(Said::Pdu(pdu.clone())),
            (Speaks::V3(user), Message::V3(raw, datagram)) => (user, raw, datagram),
            (Speaks::V2c { .. }, Message::V3(..)) => return Err(Doubt::Malformed),
        };
        let status = match user.open(self.engine.as_mut(), now, datagram, raw)? {
            Opened::Response(pdu) if pdu.request_id() == raw.msg_id() => {
                return Ok(Said::Pdu(pdu));
            }
            Opened::Response(_) => return Err(Doubt::Malformed),
            Opened::Time => return Ok(Said::Step),
            Opened::Id(id) if self.engine.is_none() => {
                self.engine = Some(user.engine(&id)?);
                return Ok(Said::Step);
            }
            Opened::Id(_) => return Ok(Said::Report(Failure::AnotherEngine)),
            Opened::Report(status) => status,
        };
        Ok(Said::Report(match status {
            ReportStatus::UnknownUserName { .. } => Failure::UnknownUser,
            ReportStatus::WrongDigest { .. } => Failure::WrongPassword,
            ReportStatus::DecryptionError { .. } => Failure::WrongPrivacyPassword,
            ReportStatus::UnsupportedSecurityLevel { .. } => Failure::UnsupportedLevel,
            ReportStatus::UnknownEngineId { .. } => Failure::AnotherEngine,
            ReportStatus::NotInTimeWindow { .. } => Failure::UnprovenTime,
            other => Failure::OtherReport(other.to_string()),
        }))
    }
}

/// The first of a queue that is ordered by time, when its time has come.
fn take_due<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    if queue.front()?.0 > now {
        return None;
    }
    queue.pop_front().map(|(_, what)| what)
}
