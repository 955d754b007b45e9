//! Questions to datagrams, and datagrams to what they may be an answer to.

use std::time::Instant;

use async_snmp::message::{CommunityMessage, RawV3Message};
use async_snmp::{DecodeConfig, Pdu, PduType, Version};
use bytes::Bytes;

use super::config::{Access, SnmpError};
use super::mib::Question;
use super::usm::{Doubt, Engine, User};

/// The protocol, with what is secret in it.
pub(crate) enum Speaks {
    V2c { community: async_snmp::Community },
    V3(Box<User>),
}

/// A datagram of which the outside was read.
pub(crate) enum Message {
    /// With the right community.
    V2c(Pdu),
    /// Nothing of it is believed yet.
    V3(Box<RawV3Message>, Bytes),
}

impl Message {
    pub(crate) fn read(speaks: &Speaks, datagram: Bytes) -> Result<Self, Doubt> {
        match speaks {
            Speaks::V2c { community } => {
                let message = CommunityMessage::decode(datagram, DecodeConfig::STRICT)
                    .map_err(|_| Doubt::Malformed)?
                    .value;
                if message.version() != Version::V2c {
                    return Err(Doubt::Malformed);
                }
                if !community.matches(message.community().as_bytes()) {
                    return Err(Doubt::Signature);
                }
                let pdu = message.into_pdu().ok_or(Doubt::Malformed)?;
                if pdu.pdu_type() == PduType::Response {
                    Ok(Self::V2c(pdu))
                } else {
                    Err(Doubt::Malformed)
                }
            }
            Speaks::V3(_) => {
                let raw = RawV3Message::decode(datagram.clone(), DecodeConfig::STRICT)
                    .map_err(|_| Doubt::Malformed)?;
                Ok(Self::V3(Box::new(raw.value), datagram))
            }
        }
    }

    /// Number of the request that it answers.
    pub(crate) fn id(&self) -> i32 {
        match self {
            Self::V2c(pdu) => pdu.request_id(),
            Self::V3(raw, _) => raw.msg_id(),
        }
    }
}

impl Speaks {
    pub(crate) fn new(access: &Access) -> Result<Self, SnmpError> {
        Ok(match access {
            Access::V2c { community } => Speaks::V2c {
                community: community.bytes().to_vec().into(),
            },
            Access::V3 {
                user,
                auth,
                auth_password,
                privacy,
                privacy_password,
            } => Speaks::V3(Box::new(User::new(
                user,
                (*auth, auth_password),
                (*privacy, privacy_password),
            )?)),
        })
    }

    /// A question to an agent; where nothing is known of its engine, the one who it is.
    pub(crate) fn request(
        &self,
        engine: Option<&Engine>,
        now: Instant,
        id: i32,
        question: &Question,
    ) -> async_snmp::Result<Bytes> {
        match (self, engine) {
            (Self::V2c { community }, _) => {
                let pdu = question.pdu(Version::V2c, id)?;
                CommunityMessage::v2c(community.clone(), pdu)?.encode()
            }
            (Self::V3(user), None) => user.discovery(id),
            (Self::V3(user), Some(engine)) => {
                user.request(engine, now, id, question.pdu(Version::V3, id)?)
            }
        }
    }
}
