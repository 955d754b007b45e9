//! Domains whose metadata says that they are functions.

use record::{HostName, VmName};

use super::config::LibvirtConfig;
use super::driver::is_taken_for_another;
use super::virsh::Virsh;
use crate::tagged::{Found, Tagged};

/// The namespace of the tag: `virsh metadata DOMAIN urn:forestall --key forestall --set '<function/>'`.
pub const NAMESPACE: &str = "urn:forestall";

/// Asks every host for the domains that run there, and each domain for its tag.
pub async fn tagged(config: &LibvirtConfig) -> Found {
    let mut found = Found::default();
    for (host, reached) in &config.hosts {
        let virsh = Virsh(&reached.uri);
        let running = ["list", "--state-running", "--name"];
        match virsh.ask(&running).await {
            Ok(said) => {
                for line in said.lines() {
                    let domain = line.trim();
                    if !domain.is_empty() {
                        of_domain(config, virsh, (host, domain), &mut found).await;
                    }
                }
            }
            Err(why) => found.take(Err(format!("{host} does not say what runs there: {why}"))),
        }
    }
    found
}

async fn of_domain(
    config: &LibvirtConfig,
    virsh: Virsh<'_>,
    (host, domain): (&HostName, &str),
    found: &mut Found,
) {
    if is_taken_for_another(domain) {
        found.take(Err(format!(
            "{domain} on {host} is not asked whether it is a function: virsh would take its name for another domain's number or UUID. Rename it"
        )));
        return;
    }
    let said = virsh
        .ask(&["metadata", "--domain", domain, "--uri", NAMESPACE])
        .await;
    match said {
        Ok(xml) => found.take(read(config, host, domain, &xml)),
        // What runs beside functions has none.
        Err(why) if why.contains("metadata not found") || why.contains("Domain not found") => {}
        Err(why) => found.take(Err(format!("{domain} on {host}: {why}"))),
    }
}

fn read(
    config: &LibvirtConfig,
    host: &HostName,
    domain: &str,
    xml: &str,
) -> Result<Tagged, String> {
    let at = || format!("{domain} on {host}");
    let named = config.domains.iter().find(|(_, name)| *name == domain);
    let vm = match named {
        Some((vm, _)) => vm.clone(),
        None => VmName::new(domain).map_err(|error| {
            format!("{} is tagged as a function, and its name is none ({error}): give it one in engine.libvirt.domains", at())
        })?,
    };
    let tag = roxmltree::Document::parse(xml)
        .map_err(|error| format!("the tag of {} cannot be read: {error}", at()))?;
    let tag = tag.root_element();
    if tag.tag_name().name() != "function" {
        return Err(format!("the tag of {} is no <function/>", at()));
    }
    Tagged::read(
        vm,
        host.clone(),
        tag.attribute("viewers"),
        tag.attribute("load"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LibvirtConfig {
        let text = r#"{"downtime_limit_ms": 300, "bandwidth_mib_per_s": 100, "hosts": {}, "domains": {"overlay": "vm 7"}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn tags_are_read() {
        let host = HostName::new("edge-1").unwrap();
        for (domain, xml, expected) in [
            ("relay", "<function/>", Ok(("relay", None))),
            (
                "relay",
                "<function viewers=\"3\"/>\n\n",
                Ok(("relay", Some(3))),
            ),
            (
                "relay",
                "<f:function xmlns:f=\"urn:forestall\" viewers=\"2\" load=\"0.3\"/>",
                Ok(("relay", Some(2))),
            ),
            ("vm 7", "<function/>", Ok(("overlay", None))),
            ("vm 8", "<function/>", Err("engine.libvirt.domains")),
            ("relay", "<camera/>", Err("no <function/>")),
            ("relay", "<function", Err("cannot be read")),
            ("relay", "<function load=\"2\"/>", Err("load")),
        ] {
            let read = read(&config(), &host, domain, xml);
            match expected {
                Ok((vm, viewers)) => {
                    let tagged = read.unwrap();
                    assert_eq!((tagged.vm.as_str(), tagged.viewers), (vm, viewers), "{xml}");
                }
                Err(why) => {
                    let refused = read.unwrap_err();
                    assert!(refused.contains(why), "{xml}: {refused}");
                }
            }
        }
    }
}
