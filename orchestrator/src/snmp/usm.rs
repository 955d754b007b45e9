//! SNMPv3's user-based security (RFC 3414), the asking side.
//!
//! What is known of an agent's engine grows in three steps, each by an answer of its own:
//!
//! ```text
//!  nothing ──its id──▶ keys ──a signed answer──▶ keys and its time ──▶ encrypted answers
//! ```
//!
//! The id comes unsigned. That does no harm: keys are made for that id, and who cannot sign with them is not believed.

use std::time::Instant;

use async_snmp::message::{
    MsgFlags, MsgGlobalData, RawMsgData, RawV3Message, ScopedPdu, SecurityLevel, V3Message,
};
use async_snmp::v3::auth::{authenticate_message, verify_message};
use async_snmp::v3::{
    LocalizedKey, MasterKeys, PrivKey, ReportStatus, SaltCounter, TIME_WINDOW, UsmSecurityParams,
    classify_report, validate_engine_id,
};
use async_snmp::{DecodeConfig, MessageSize, Pdu, PduType, PrivProtocol, ber};
use bytes::Bytes;

use super::config::{AuthProtocol, PrivacyProtocol, SnmpError};
use super::secret::Secret;

/// What we say we can take; agents cut their answers to it.
const MESSAGE_BYTES_MAX: usize = 65_507;

/// Who asks, with the keys that hold for all agents.
pub(crate) struct User {
    name: Bytes,
    keys: MasterKeys,
    /// Makes every encryption's initial value another one.
    salt: SaltCounter,
    message_size: MessageSize,
}

/// An agent's engine, with the keys made for it.
pub(crate) struct Engine {
    id: Bytes,
    auth: LocalizedKey,
    privacy: PrivKey,
    time: Option<EngineTime>,
}

/// An engine's time by its newest signed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EngineTime {
    boots: u32,
    /// Its seconds since it started, and when that was heard.
    seconds: u32,
    at: Instant,
}

/// What an answer holds.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The engine's id, for the asking.
    Id(Bytes),
    /// The engine's time, signed: a request can be made now that it will take.
    Time,
    /// An error that the agent states; signed or not.
    Report(ReportStatus),
    /// A response, signed and encrypted.
    Response(Pdu),
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It cannot be read.
    Malformed,
    /// It is not signed where it should be, or not by the agent.
    Signature,
    /// It is older than what has been heard, or of an earlier start of the agent.
    Replayed,
}

impl User {
    pub(crate) fn new(
        name: &str,
        (auth, auth_password): (AuthProtocol, &Secret),
        (privacy, privacy_password): (PrivacyProtocol, &Secret),
    ) -> Result<Self, SnmpError> {
        let setup = |what, why: String| SnmpError::Setup { what, why };
        let keys = master_keys((auth, auth_password), (privacy, privacy_password))
            .map_err(|error| setup("keys from the passwords", error.to_string()))?;
        let salt =
            SaltCounter::new().map_err(|error| setup("random numbers", error.to_string()))?;
        let message_size = MessageSize::new(MESSAGE_BYTES_MAX)
            .map_err(|error| setup("message size", error.to_string()))?;
        Ok(Self {
            name: Bytes::copy_from_slice(name.as_bytes()),
            keys,
            salt,
            message_size,
        })
    }

    /// Keys for an engine that said to be `id`.
    pub(crate) fn engine(&self, id: &Bytes) -> Result<Engine, Doubt> {
        validate_engine_id(id).map_err(|_| Doubt::Malformed)?;
        let (auth, privacy) = self.keys.localize(id).map_err(|_| Doubt::Malformed)?;
        Ok(Engine {
            id: id.clone(),
            auth,
            privacy: privacy.ok_or(Doubt::Malformed)?,
            time: None,
        })
    }

    /// A request that asks an agent who it is.
    pub(crate) fn discovery(&self, id: i32) -> async_snmp::Result<Bytes> {
        V3Message::discovery_request(id, self.message_size)?.encode()
    }

    /// A request for an engine, signed and encrypted.
    pub(crate) fn request(
        &self,
        engine: &Engine,
        now: Instant,
        id: i32,
        pdu: Pdu,
    ) -> async_snmp::Result<Bytes> {
        let (boots, seconds) = engine.time.map_or((0, 0), |time| time.at(now));
        let scoped = ScopedPdu::new(engine.id.clone(), Bytes::new(), pdu).encode_to_bytes()?;
        let sealed = engine
            .privacy
            .encrypt_aes(&scoped, boots, seconds, &self.salt);
        let (sealed, salt) = sealed.map_err(|error| async_snmp::Error::Privacy(error).boxed())?;
        let parameters =
            UsmSecurityParams::new(engine.id.clone(), boots, seconds, self.name.clone())?
                .with_auth_placeholder(engine.auth.mac_len())?
                .with_priv_params(salt)?;
        let head = MsgGlobalData::new(
            id,
            self.message_size,
            MsgFlags::new(SecurityLevel::AuthPriv, true),
        )?;
        let message =
            V3Message::new_with_opaque_encrypted_scoped_pdu(head, parameters.encode()?, sealed)?;
        sign(&engine.auth, &message)
    }

    /// Opens an answer that came at `now`. A signed one tells the engine's time, whatever else it says.
    pub(crate) fn open(
        &self,
        engine: Option<&mut Engine>,
        now: Instant,
        datagram: &Bytes,
        message: &RawV3Message,
    ) -> Result<Opened, Doubt> {
        let parameters =
            UsmSecurityParams::decode(message.security_params().clone(), DecodeConfig::STRICT)
                .map_err(|_| Doubt::Malformed)?
                .value;
        let level = message.security_level();
        if level == SecurityLevel::NoAuthNoPriv {
            return unsigned(message, &parameters);
        }
        let engine = engine.ok_or(Doubt::Signature)?;
        if *parameters.engine_id() != engine.id || *parameters.username() != self.name {
            return Err(Doubt::Signature);
        }
        engine.verify(datagram)?;
        engine.heard(parameters.engine_boots(), parameters.engine_time(), now)?;
        let scoped = match message.msg_data() {
            RawMsgData::Plaintext { data, .. } => data.clone(),
            RawMsgData::Encrypted(data) => engine
                .privacy
                .decrypt(
                    data,
                    parameters.engine_boots(),
                    parameters.engine_time(),
                    parameters.priv_params(),
                )
                .map_err(|_| Doubt::Malformed)?,
        };
        let pdu = scoped_pdu(scoped)?;
        match pdu.pdu_type() {
            PduType::Report => match classify_report(&pdu).map_err(|_| Doubt::Malformed)? {
                ReportStatus::NotInTimeWindow { .. } => Ok(Opened::Time),
                status => Ok(Opened::Report(status)),
            },
            // What was asked in secret is answered in secret.
            PduType::Response if level == SecurityLevel::AuthPriv => Ok(Opened::Response(pdu)),
            _ => Err(Doubt::Signature),
        }
    }
}

impl Engine {
    /// How often the agent has been started, once it has proved it.
    pub(crate) fn boots(&self) -> Option<u32> {
        self.time.map(|time| time.boots)
    }

    fn verify(&self, datagram: &Bytes) -> Result<(), Doubt> {
        let place = UsmSecurityParams::find_auth_params_offset(datagram);
        let (offset, length) = place.ok_or(Doubt::Malformed)?;
        let right = length == self.auth.mac_len()
            && verify_message(&self.auth, datagram, offset, length).unwrap_or(false);
        if right { Ok(()) } else { Err(Doubt::Signature) }
    }

    /// RFC 3414, 3.2, step 7b.
    fn heard(&mut self, boots: u32, seconds: u32, now: Instant) -> Result<(), Doubt> {
        if let Some(time) = self.time {
            let older = boots == time.boots && seconds.saturating_add(TIME_WINDOW) < time.seconds;
            if boots < time.boots || older || boots == i32::MAX as u32 {
                return Err(Doubt::Replayed);
            }
            if boots == time.boots && seconds <= time.seconds {
                return Ok(());
            }
        }
        self.time = Some(EngineTime {
            boots,
            seconds,
            at: now,
        });
        Ok(())
    }
}

impl EngineTime {
    /// The engine's boots and seconds at `now`, as far as one can tell.
    fn at(&self, now: Instant) -> (u32, u32) {
        let since = now.saturating_duration_since(self.at).as_secs();
        let seconds = u64::from(self.seconds).saturating_add(since);
        // After 68 years without a restart an engine counts one.
        (self.boots, seconds.min(i32::MAX as u64) as u32)
    }
}

/// An unsigned answer: the engine's id, or an error that anybody can have stated.
fn unsigned(message: &RawV3Message, parameters: &UsmSecurityParams) -> Result<Opened, Doubt> {
    let RawMsgData::Plaintext { data, .. } = message.msg_data() else {
        return Err(Doubt::Malformed);
    };
    let pdu = scoped_pdu(data.clone())?;
    if pdu.pdu_type() != PduType::Report {
        return Err(Doubt::Signature);
    }
    match classify_report(&pdu).map_err(|_| Doubt::Malformed)? {
        ReportStatus::UnknownEngineId { .. } => Ok(Opened::Id(parameters.engine_id().clone())),
        status => Ok(Opened::Report(status)),
    }
}

fn scoped_pdu(data: Bytes) -> Result<Pdu, Doubt> {
    let mut decoder = ber::Decoder::new(data).with_decode_config(DecodeConfig::STRICT);
    let scoped = ScopedPdu::decode(&mut decoder).map_err(|_| Doubt::Malformed)?;
    if decoder.is_empty() {
        Ok(scoped.pdu)
    } else {
        Err(Doubt::Malformed)
    }
}

/// Keys for all engines; the user's passwords are not kept.
pub(crate) fn master_keys(
    (auth, auth_password): (AuthProtocol, &Secret),
    (privacy, privacy_password): (PrivacyProtocol, &Secret),
) -> Result<MasterKeys, async_snmp::CryptoError> {
    let auth = match auth {
        AuthProtocol::Sha224 => async_snmp::AuthProtocol::Sha224,
        AuthProtocol::Sha256 => async_snmp::AuthProtocol::Sha256,
        AuthProtocol::Sha384 => async_snmp::AuthProtocol::Sha384,
        AuthProtocol::Sha512 => async_snmp::AuthProtocol::Sha512,
    };
    let privacy = match privacy {
        PrivacyProtocol::Aes128 => PrivProtocol::Aes128,
        PrivacyProtocol::Aes256 => PrivProtocol::Aes256Blumenthal,
    };
    MasterKeys::new(auth, auth_password.bytes())?.with_privacy(privacy, privacy_password.bytes())
}

/// Encodes a message that has a place for a signature, and signs it.
pub(crate) fn sign(key: &LocalizedKey, message: &V3Message) -> async_snmp::Result<Bytes> {
    let mut bytes = message.encode()?.to_vec();
    let unsigned = || async_snmp::Error::InvalidMessage("no place for a signature".into()).boxed();
    let (offset, length) =
        UsmSecurityParams::find_auth_params_offset(&bytes).ok_or_else(unsigned)?;
    authenticate_message(key, &mut bytes, offset, length).map_err(|_| unsigned())?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn user() -> User {
        let password = Secret::new("correct horse");
        User::new(
            "forestall",
            (AuthProtocol::Sha256, &password),
            (PrivacyProtocol::Aes128, &password),
        )
        .unwrap()
    }

    #[test]
    fn time_goes_forward_only() {
        let user = user();
        let mut engine = user
            .engine(&Bytes::from_static(b"\x80\0\0\0\x05engine"))
            .unwrap();
        let now = Instant::now();
        engine.heard(3, 1000, now).unwrap();
        assert_eq!(
            engine.heard(2, 5000, now),
            Err(Doubt::Replayed),
            "earlier start"
        );
        assert_eq!(
            engine.heard(3, 849, now),
            Err(Doubt::Replayed),
            "over 150 s old"
        );
        engine.heard(3, 851, now).unwrap();
        assert_eq!(
            engine.time.unwrap().seconds,
            1000,
            "an older one sets nothing"
        );
        let later = now + Duration::from_secs(7);
        assert_eq!(engine.time.unwrap().at(later), (3, 1007));
        engine.heard(4, 2, later).unwrap();
        assert_eq!(
            (engine.boots(), engine.time.unwrap().at(later)),
            (Some(4), (4, 2))
        );
    }

    #[test]
    fn an_engine_without_a_valid_id_has_no_keys() {
        for id in [&b""[..], b"four", &[7; 33]] {
            assert!(
                user().engine(&Bytes::copy_from_slice(id)).is_err(),
                "{id:?}"
            );
        }
    }

    #[test]
    fn requests_differ_though_they_ask_the_same() {
        let user = user();
        let engine = user
            .engine(&Bytes::from_static(b"\x80\0\0\0\x05engine"))
            .unwrap();
        let pdu = || {
            super::super::mib::Question::Ticks
                .pdu(async_snmp::Version::V3, 7)
                .unwrap()
        };
        let one = user.request(&engine, Instant::now(), 7, pdu()).unwrap();
        let other = user.request(&engine, Instant::now(), 7, pdu()).unwrap();
        assert_ne!(one, other, "another initial value each time");
    }
}
