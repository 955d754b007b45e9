//! Why a poll came to nothing, in words that tell a person where to look.

use std::fmt;
use std::net::SocketAddr;

/// Why a poll ended without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    Silent,
    /// An agent that proved to know the password for signing does not answer what is encrypted.
    SilentWhenEncrypted,
    /// Answers in time came from another address.
    ElsewhereOnly(SocketAddr),
    /// Answers in time were signed by somebody else, or had another community.
    ForgedOnly,
    /// Answers in time were older than what had been heard before.
    ReplayedOnly,
    /// Answers in time could not be read.
    MalformedOnly,
    /// The agent does not know the user (`usmStatsUnknownUserNames`).
    UnknownUser,
    /// The agent finds the signature wrong (`usmStatsWrongDigests`).
    WrongPassword,
    /// The agent cannot decrypt (`usmStatsDecryptionErrors`).
    WrongPrivacyPassword,
    /// The user may not sign or encrypt there (`usmStatsUnsupportedSecLevels`).
    UnsupportedLevel,
    /// The agent is another one than before (`usmStatsUnknownEngineIDs`); the next poll asks who it is.
    AnotherEngine,
    /// The agent finds our time wrong, without proof that it is the agent (`usmStatsNotInTimeWindows`).
    UnprovenTime,
    /// Another error of the security model.
    OtherReport(String),
    /// The agent refuses the question.
    ErrorStatus(String),
    /// Neither counters nor `hrProcessorLoad`.
    NoLoad,
    /// Values that cannot be.
    Nonsense(String),
    /// The system would not send the request.
    NotSent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("does not answer"),
            Self::SilentWhenEncrypted => f.write_str(
                "does not answer what is encrypted, though it knows the password for signing: \
                 is snmp.privacy_password right, and snmp.privacy?",
            ),
            Self::ElsewhereOnly(from) => write!(
                f,
                "does not answer; somebody at {from} does, which is not believed"
            ),
            Self::ForgedOnly => f.write_str("sends only answers that are not signed as they should be, or for another community"),
            Self::ReplayedOnly => f.write_str(
                "sends only answers that are older than what it said before: replayed, or it has lost its engineBoots",
            ),
            Self::MalformedOnly => f.write_str("sends only answers that cannot be read"),
            Self::UnknownUser => f.write_str("does not know the user: is snmp.user right?"),
            Self::WrongPassword => {
                f.write_str("says that the signature is wrong: is snmp.auth_password right, and snmp.auth?")
            }
            Self::WrongPrivacyPassword => {
                f.write_str("says that it cannot decrypt: is snmp.privacy_password right, and snmp.privacy?")
            }
            Self::UnsupportedLevel => {
                f.write_str("says that the user may not sign and encrypt there (no authPriv)")
            }
            Self::AnotherEngine => f.write_str("is another agent than before; it is asked who it is"),
            Self::UnprovenTime => {
                f.write_str("says that our time is wrong, without proof that it is the agent: not believed")
            }
            Self::OtherReport(what) => write!(f, "reports: {what}"),
            Self::ErrorStatus(status) => write!(f, "refuses the question: {status}"),
            Self::NoLoad => f.write_str(
                "has neither ssCpuRaw* nor hrProcessorLoad (missing for a minute after a start), or may not show them",
            ),
            Self::Nonsense(what) => write!(f, "answers nonsense: {what}"),
            Self::NotSent(why) => write!(f, "cannot be asked: {why}"),
        }
    }
}
