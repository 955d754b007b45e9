//! The driver's other ways to a libvirtd, as to one of another machine: TLS and ssh.

use super::{AT_SOURCE, AT_TARGET, enabled};
use crate::common::libvirtd::Libvirts;
use crate::common::remote::{DOUBTERS, OURS, STRANGERS, Ssh, Tls};
use crate::common::site::HOSTS;
use crate::common::{end_of, plan};
use drivers::libvirt::LibvirtConfig;
use drivers::{Driver, DriverError, Libvirt};
use record::Residency;
use record::decision::End;

/// A guest moves there and back.
async fn moves(libvirts: &Libvirts, config: LibvirtConfig) {
    libvirts.hosts[0].begin();
    let driver = Libvirt::new(config);
    for (plan, target) in [(plan(0, 1), 1), (plan(1, 0), 0)] {
        assert_eq!(driver.inspect(&plan).await, AT_SOURCE);
        end_of(driver.copy(&plan, || ())).await.unwrap();
        assert_eq!(driver.inspect(&plan).await, AT_TARGET);
        assert!(libvirts.hosts[target].executes());
    }
}

/// A driver that is not let in, or does not believe who answers, claims nothing, moves nothing, and says why not, and where.
async fn is_refused(config: LibvirtConfig, words: &[&str]) {
    let driver = Libvirt::new(config);
    let nothing = (Residency::Unreachable, Residency::Unreachable);
    assert_eq!(driver.inspect(&plan(0, 1)).await, nothing);
    let refused = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused { .. }), "{refused}");
    says(&refused, words);
    let place = format!("libvirt on {}", HOSTS[0]);
    says(&refused, &[place.as_str()]);
}

/// The driver reaches both hosts, and the source not the target: the guest stays.
async fn stays(libvirts: &Libvirts, config: LibvirtConfig, words: &[&str]) {
    let driver = Libvirt::new(config);
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
    let ended = end_of(driver.copy(&plan(0, 1), || ())).await.unwrap_err();
    assert!(matches!(ended, DriverError::Uncertain { .. }), "{ended}");
    says(&ended, words);
    driver.discard(&plan(0, 1), End::Target).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_SOURCE);
    assert!(libvirts.hosts[0].executes());
}

/// One of these words.
fn says(error: &DriverError, words: &[&str]) {
    let said = error.to_string();
    println!("{said}");
    assert!(words.iter().any(|word| said.contains(word)), "{said}");
}

/// Who is not believed by a host is told so only by a connection that ends.
const CERTIFICATE: &[&str] = &["certificate", "TLS"];
const NOT_KNOWN: &[&str] = &["Host key verification failed"];
const NOT_LET_IN: &[&str] = &["Permission denied"];

#[tokio::test]
async fn a_domain_moves_by_tls() {
    if !enabled() {
        return;
    }
    let site = Tls::new();
    moves(&site.libvirts, site.config(OURS, OURS)).await;
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused() {
    if !enabled() {
        return;
    }
    let site = Tls::new();
    site.libvirts.hosts[0].begin();
    is_refused(site.config(DOUBTERS, OURS), &["peer's certificate"]).await;
    is_refused(site.config(STRANGERS, OURS), CERTIFICATE).await;
    for peers in [DOUBTERS, STRANGERS] {
        stays(&site.libvirts, site.config(OURS, peers), CERTIFICATE).await;
    }
    // Nothing is left of it that could keep the next one.
    let driver = Libvirt::new(site.config(OURS, OURS));
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
}

#[tokio::test]
async fn the_memory_of_a_guest_goes_encrypted() {
    if !enabled() {
        return;
    }
    let site = Tls::new();
    let config = LibvirtConfig {
        tls: true,
        ..site.config(OURS, OURS)
    };
    moves(&site.libvirts, config.clone()).await;
    // The memory is not sent to one whose certificate is another's.
    site.make_memory_strange(1);
    stays(&site.libvirts, config, &["migration", "certificate", "TLS"]).await;
    // The same libvirtd take it in clear.
    let driver = Libvirt::new(site.config(OURS, OURS));
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
}

#[tokio::test]
async fn a_domain_moves_by_ssh() {
    if !enabled() {
        return;
    }
    let site = Ssh::new();
    moves(&site.libvirts, site.config(OURS, OURS)).await;
}

#[tokio::test]
async fn a_host_that_is_not_known_and_a_key_that_is_not_are_refused() {
    if !enabled() {
        return;
    }
    let site = Ssh::new();
    site.libvirts.hosts[0].begin();
    for (client, words) in [(DOUBTERS, NOT_KNOWN), (STRANGERS, NOT_LET_IN)] {
        is_refused(site.config(client, OURS), words).await;
        stays(&site.libvirts, site.config(OURS, client), words).await;
    }
    let driver = Libvirt::new(site.config(OURS, OURS));
    end_of(driver.copy(&plan(0, 1), || ())).await.unwrap();
    assert_eq!(driver.inspect(&plan(0, 1)).await, AT_TARGET);
}
