//! Simulated agents, for the benchmark and for tests: as many as there are addresses, each with an engine and counters of
//! its own, without IO.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use async_snmp::message::{
    CommunityMessage, MsgFlags, MsgGlobalData, RawMsgData, RawV3Message, ScopedPdu, SecurityLevel,
    V3Message,
};
use async_snmp::v3::auth::verify_message;
use async_snmp::v3::{
    LocalizedKey, MasterKeys, PrivKey, SaltCounter, UsmSecurityParams,
    in_authoritative_time_window, report_oids,
};
use async_snmp::{
    DecodeConfig, MessageSize, Oid, Pdu, PduType, ResponsePdu, UDP_RECEIVE_LIMITS, Value, VarBind,
    Version, ber,
};
use bytes::Bytes;

use super::config::{Access, SnmpError};
use super::mib::{BUSY, IDLE, PROCESSOR_LOAD, UP_TIME, system_stat};
use super::usm::{master_keys, sign};

/// How often an agent's counters move, as net-snmp's do.
const REFRESH: Duration = Duration::from_secs(5);
/// Ticks a second of an agent with four processors.
const TICKS_PER_S: u64 = 400;
/// Each agent was started once.
const BOOTS: u32 = 1;

/// What agents tell of their load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tells {
    /// Counters, of 60 %.
    #[default]
    Counters,
    /// No counters: `hrProcessorLoad` of one processor, in percent, whatever is said here. It need not make sense.
    OneMinute(i32),
}

/// The agents.
pub struct Fleet {
    speaks: Speaks,
    engines: HashMap<IpAddr, Engine>,
    tells: Tells,
}

enum Speaks {
    V2c(async_snmp::Community),
    V3 {
        user: Bytes,
        keys: Box<MasterKeys>,
        salt: SaltCounter,
    },
}

struct Engine {
    id: Bytes,
    auth: LocalizedKey,
    privacy: PrivKey,
}

impl Fleet {
    /// Agents that may be asked in this way.
    ///
    /// # Errors
    /// When there are no keys or random numbers to be had.
    pub fn new(access: &Access) -> Result<Self, SnmpError> {
        let setup = |what, why: String| SnmpError::Setup { what, why };
        let speaks = match access {
            Access::V2c { community } => Speaks::V2c(community.bytes().to_vec().into()),
            Access::V3 {
                user,
                auth,
                auth_password,
                privacy,
                privacy_password,
            } => Speaks::V3 {
                user: user.clone().into(),
                keys: Box::new(
                    master_keys((*auth, auth_password), (*privacy, privacy_password))
                        .map_err(|error| setup("keys", error.to_string()))?,
                ),
                salt: SaltCounter::new()
                    .map_err(|error| setup("random numbers", error.to_string()))?,
            },
        };
        Ok(Self {
            speaks,
            engines: HashMap::new(),
            tells: Tells::default(),
        })
    }

    /// What they tell from now on.
    pub fn tell(&mut self, tells: Tells) {
        self.tells = tells;
    }

    /// What the agent at `to` answers to a datagram, `up` after all of them were started; nothing where an agent is silent.
    pub fn answer(&mut self, up: Duration, to: IpAddr, datagram: &[u8]) -> Option<Bytes> {
        let datagram = Bytes::copy_from_slice(datagram);
        match &self.speaks {
            Speaks::V2c(community) => {
                let message = CommunityMessage::decode(datagram, DecodeConfig::STRICT).ok()?;
                if !community.matches(message.value.community().as_bytes()) {
                    return None;
                }
                let asked = message.value.into_pdu()?;
                let pdu = respond(&asked, Version::V2c, up, to, self.tells)?;
                CommunityMessage::v2c(community.clone(), pdu)
                    .ok()?
                    .encode()
                    .ok()
            }
            Speaks::V3 { .. } => self.answer_v3(up, to, datagram),
        }
    }

    fn answer_v3(&mut self, up: Duration, to: IpAddr, datagram: Bytes) -> Option<Bytes> {
        let Speaks::V3 { user, keys, salt } = &self.speaks else {
            return None;
        };
        let engine = match self.engines.entry(to) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(Engine::new(keys, to)?),
        };
        let raw = RawV3Message::decode(datagram.clone(), DecodeConfig::STRICT)
            .ok()?
            .value;
        let parameters =
            UsmSecurityParams::decode(raw.security_params().clone(), DecodeConfig::STRICT)
                .ok()?
                .value;
        let report = |oid: Oid, signed: bool| engine.report(up, raw.msg_id(), user, oid, signed);
        if *parameters.engine_id() != engine.id {
            return report(report_oids::unknown_engine_ids(), false);
        }
        if parameters.username() != user {
            return report(report_oids::unknown_user_names(), false);
        }
        let (offset, length) = UsmSecurityParams::find_auth_params_offset(&datagram)?;
        if !verify_message(&engine.auth, &datagram, offset, length).ok()? {
            return report(report_oids::wrong_digests(), false);
        }
        let seconds = up.as_secs() as u32;
        let (their_boots, their_seconds) = (parameters.engine_boots(), parameters.engine_time());
        if !in_authoritative_time_window(BOOTS, seconds, their_boots, their_seconds) {
            return report(report_oids::not_in_time_windows(), true);
        }
        let RawMsgData::Encrypted(sealed) = raw.msg_data() else {
            return report(report_oids::unsupported_sec_levels(), false);
        };
        let plain = engine
            .privacy
            .decrypt(sealed, their_boots, their_seconds, parameters.priv_params())
            .ok()?;
        // With another password it is no message; net-snmp is silent then, too.
        let asked = ScopedPdu::decode(&mut ber::Decoder::new(plain)).ok()?.pdu;
        let pdu = respond(&asked, Version::V3, up, to, self.tells)?;
        engine.respond(seconds, raw.msg_id(), user, salt, pdu)
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("engines", &self.engines.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// The engine at an address, named after it.
    fn new(keys: &MasterKeys, address: IpAddr) -> Option<Self> {
        let mut id = vec![0x80, 0, 0x1f, 0x88];
        match address {
            IpAddr::V4(address) => {
                id.push(1);
                id.extend(address.octets());
            }
            IpAddr::V6(address) => {
                id.push(2);
                id.extend(address.octets());
            }
        }
        let (auth, privacy) = keys.localize(&id).ok()?;
        Some(Self {
            id: id.into(),
            auth,
            privacy: privacy?,
        })
    }

    fn report(&self, up: Duration, id: i32, user: &Bytes, oid: Oid, signed: bool) -> Option<Bytes> {
        let pdu = ResponsePdu::report(0, vec![VarBind::new(oid, Value::Counter32(1))]).ok()?;
        let scoped = ScopedPdu::new(self.id.clone(), Bytes::new(), pdu.into_raw());
        let seconds = up.as_secs() as u32;
        let parameters =
            UsmSecurityParams::new(self.id.clone(), BOOTS, seconds, user.clone()).ok()?;
        let (level, parameters) = if signed {
            let placed = parameters.with_auth_placeholder(self.auth.mac_len()).ok()?;
            (SecurityLevel::AuthNoPriv, placed)
        } else {
            (SecurityLevel::NoAuthNoPriv, parameters)
        };
        let message = V3Message::new(head(id, level)?, parameters.encode().ok()?, scoped).ok()?;
        if signed {
            sign(&self.auth, &message).ok()
        } else {
            message.encode().ok()
        }
    }

    fn respond(
        &self,
        seconds: u32,
        id: i32,
        user: &Bytes,
        salt: &SaltCounter,
        pdu: Pdu,
    ) -> Option<Bytes> {
        let scoped = ScopedPdu::new(self.id.clone(), Bytes::new(), pdu)
            .encode_to_bytes()
            .ok()?;
        let (sealed, salt) = self
            .privacy
            .encrypt_aes(&scoped, BOOTS, seconds, salt)
            .ok()?;
        let parameters = UsmSecurityParams::new(self.id.clone(), BOOTS, seconds, user.clone())
            .and_then(|parameters| parameters.with_auth_placeholder(self.auth.mac_len()))
            .and_then(|parameters| parameters.with_priv_params(salt))
            .and_then(|parameters| parameters.encode())
            .ok()?;
        let head = head(id, SecurityLevel::AuthPriv)?;
        let message =
            V3Message::new_with_opaque_encrypted_scoped_pdu(head, parameters, sealed).ok()?;
        sign(&self.auth, &message).ok()
    }
}

fn head(id: i32, level: SecurityLevel) -> Option<MsgGlobalData> {
    let size: MessageSize = UDP_RECEIVE_LIMITS.advertised();
    MsgGlobalData::new(id, size, MsgFlags::new(level, false)).ok()
}

/// Answers a GET, and where there are no counters the GETBULK for `hrProcessorLoad`; nothing else is asked of a simulated agent.
fn respond(asked: &Pdu, version: Version, up: Duration, to: IpAddr, tells: Tells) -> Option<Pdu> {
    let value = |oid: Oid| {
        let known = tells == Tells::Counters || oid.arcs() == UP_TIME;
        let value = known.then(|| object(oid.arcs(), up, to)).flatten();
        VarBind::new(oid, value.unwrap_or(Value::NoSuchObject))
    };
    let varbinds = match (asked.pdu_type(), tells) {
        (PduType::GetRequest, _) => {
            let asked = asked.varbinds().iter();
            asked.map(|varbind| value(varbind.oid.clone())).collect()
        }
        (PduType::GetBulkRequest, Tells::OneMinute(percent)) => {
            let row = Oid::from_slice(&PROCESSOR_LOAD).child(1);
            let row = VarBind::new(row, Value::Integer(percent));
            vec![value(Oid::from_slice(&UP_TIME)), row]
        }
        _ => return None,
    };
    let response = ResponsePdu::success(version, asked.request_id(), varbinds).ok()?;
    Some(response.into_raw())
}

fn object(oid: &[u32], up: Duration, to: IpAddr) -> Option<Value> {
    if oid == UP_TIME {
        return Some(Value::TimeTicks((up.as_millis() / 10) as u32));
    }
    // Agents do not refresh in step.
    let seed = match to {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) as u64,
    };
    let phase = Duration::from_millis(seed.wrapping_mul(7919) % REFRESH.as_millis() as u64);
    let refreshed = (up + phase).as_secs() / REFRESH.as_secs() * REFRESH.as_secs();
    let ticks = refreshed * TICKS_PER_S;
    // A tenth in each of the six busy modes, the rest idle.
    let share = |tenths: u64| Some(Value::Counter32((ticks * tenths / 10) as u32));
    let object = *oid.get(UP_TIME.len() - 1)?;
    if oid != system_stat(object) {
        return None;
    }
    match object {
        _ if BUSY.contains(&object) => share(1),
        _ if object == IDLE[0] => share(3),
        _ if object == IDLE[1] => share(1),
        _ => None,
    }
}
