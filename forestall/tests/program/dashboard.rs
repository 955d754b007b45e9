//! The orchestrator's page in a real browser, and its metrics.

use crate::common::browser::Browser;
use crate::common::site::{FAST, FUNCTION, HOSTS, OPERATOR, READER, Site};
use control::Trust;

#[test]
fn the_dashboard_shows_what_is_and_why() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.listen_on_loopback();
    site.edit(|config| {
        let osaka = serde_json::json!({ "Osaka": [HOSTS[1]] });
        config.insert("sites".into(), toml::Value::try_from(osaka).unwrap());
    });
    site.start_and_hear();
    let root = site.url();
    let browser = Browser::start();
    browser.open(&root);
    let text = |id: &str| {
        let script = format!("return document.getElementById('{id}').innerText");
        browser.run(&script).as_str().unwrap_or_default().to_owned()
    };
    site.wait_for("both servers", |_| text("state").contains("2 of 2 servers"));
    let hosts = text("hosts");
    for words in [HOSTS[0], HOSTS[1], FUNCTION, "60.0 %", "Nothing leaves"] {
        assert!(hosts.contains(words), "{words:?} in {hosts}");
    }
    let there = "return document.querySelector('[data-site=Osaka]').innerText";
    let there = browser.run(there).as_str().unwrap_or_default().to_owned();
    assert!(
        there.contains("Osaka") && there.contains(HOSTS[1]),
        "{there}"
    );
    assert!(!there.contains(HOSTS[0]), "{there}");
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    // With nothing moved yet the table says so.
    let arrived = "return document.querySelectorAll('tr[data-move] td.moved').length";
    site.wait_for("the move", |_| browser.run(arrived) == 1);
    browser.run("document.querySelector('[data-move=\"1\"]').click()");
    site.wait_for("why", |_| text("why").contains("a person asked for it"));
    browser.run("document.getElementById('arm').click()");
    site.wait_for("disarmed", |site| site.ask("status")["armed"] == false);
    // After a move samples have to come anew: then both servers are drawn again.
    site.wait_for("samples", |_| text("state").contains("2 of 2 servers"));
    if let Ok(file) = std::env::var("FORESTALL_SCREENSHOT_DASHBOARD") {
        std::fs::write(file, browser.screenshot()).unwrap();
    }
}

#[test]
fn the_dashboard_asks_for_a_token() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.listen_on_loopback_with_tokens();
    site.start_and_hear();
    let browser = Browser::start();
    browser.open(&site.url());
    let text = |id: &str| {
        let script = format!("return document.getElementById('{id}').innerText");
        browser.run(&script).as_str().unwrap_or_default().to_owned()
    };
    let asks = "return !document.getElementById('token-form').hidden";
    let give = |token: &str| {
        browser.run(&format!(
            "document.getElementById('token').value = '{token}'"
        ));
        browser.run("document.getElementById('token-form').requestSubmit()");
    };
    site.wait_for("the question", |_| browser.run(asks) == true);
    assert!(
        text("state").contains("it wants a token"),
        "{}",
        text("state")
    );
    assert!(!text("hosts").contains(HOSTS[0]));
    give("wrong-0123456789abcdef");
    site.wait_for("the answer", |_| {
        text("state").contains("does not know this token")
    });
    give(READER);
    site.wait_for("both servers", |_| text("state").contains("2 of 2 servers"));
    browser.run("document.getElementById('arm').click()");
    site.wait_for("the refusal", |_| {
        text("notice").contains("the right to operate")
    });
    assert_eq!(site.ask("status")["armed"], true);
    // It is still there after a reload, and stands in no address.
    browser.reload();
    site.wait_for("both servers again", |_| {
        text("state").contains("2 of 2 servers")
    });
    let address = browser.run("return location.href + document.cookie");
    assert!(!address.as_str().unwrap().contains(READER), "{address}");
    browser.run("sessionStorage.clear()");
    site.wait_for("the question again", |_| browser.run(asks) == true);
    give(OPERATOR);
    site.wait_for("both servers for an operator", |_| {
        text("state").contains("2 of 2 servers")
    });
    browser.run("document.getElementById('arm').click()");
    site.wait_for("disarmed", |site| site.ask("status")["armed"] == false);
}

#[test]
fn metrics_are_there_and_a_foreign_page_changes_nothing() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.listen_on_loopback();
    site.start_and_hear();
    let root = site.url();
    let get = |path: &str| {
        let mut answer = ureq::get(format!("{root}{path}")).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let metrics = get("/metrics");
    for line in [
        "forestall_armed 1.0",
        "forestall_host_load{host=\"edge-user\"} 0.6",
        "forestall_function_at{function=\"text-insertion\",host=\"edge-robot\"} 1.0",
        "forestall_host_state{host=\"edge-robot\",state=\"fresh\"} 1.0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Every path of the document without a parameter is answered.
    let described: serde_json::Value = serde_json::from_str(&get("/v1/openapi.json")).unwrap();
    for (path, operations) in described["paths"].as_object().unwrap() {
        if operations.get("get").is_some() && !path.contains('{') {
            get(path);
        }
    }
    let form = ureq::post(format!("{root}/v1/disarm")).send("x=1");
    assert!(form.is_err(), "a form is no request of a person");
    let rebound = ureq::post(format!("{root}/v1/disarm"))
        .header("host", "elsewhere.example")
        .header("content-type", "application/json")
        .send("{}");
    assert!(rebound.is_err(), "a name that was made to lead here");
    assert_eq!(site.ask("status")["armed"], true);
}
