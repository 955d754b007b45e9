//! A server in the OpenStack that `scripts/openstack/testbed.sh` runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drivers::nova::NovaConfig;
use record::{HostName, VmName};
use serde_json::{Value, json};

use super::libvirtd::boot_image;
use super::machines::Machines;
use super::site::{FUNCTION, HOSTS};
use super::wait_or;

/// The testbed's compute hosts, in the order of the site's.
pub(crate) const COMPUTE_HOSTS: [&str; 2] = ["hosta", "hostb"];
/// Old enough for all that is asked here, young enough for servers without a network (2.37).
const MICROVERSION: &str = "compute 2.84";

/// A user's way in.
pub(crate) struct User {
    token: String,
    services: BTreeMap<String, String>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: make test-openstack"))
}

/// Whom the driver comes as. The testbed's user has the one role that `packaging/nova/policy.yaml` names.
const MOVER: &str = "forestall";

impl User {
    /// The administrator, by the variables `OS_*`.
    pub(crate) fn administrator() -> Self {
        Self::of(&variable("OS_USERNAME"))
    }

    /// Whom the driver comes as.
    pub(crate) fn mover() -> Self {
        Self::of(MOVER)
    }

    /// They all have the same password, and come to the same project.
    fn of(name: &str) -> Self {
        let url = format!("{}/auth/tokens", variable("OS_AUTH_URL"));
        let default = json!({ "name": "Default" });
        let user = json!({ "name": name, "domain": default, "password": variable("OS_PASSWORD") });
        let mut answer = ureq::post(url)
            .send_json(json!({ "auth": {
                "identity": { "methods": ["password"], "password": { "user": user } },
                "scope": { "project": { "name": variable("OS_PROJECT_NAME"), "domain": default } },
            } }))
            .unwrap();
        let token = answer.headers()["x-subject-token"]
            .to_str()
            .unwrap()
            .to_owned();
        let said: Value = answer.body_mut().read_json().unwrap();
        let entry = |entry: &Value| {
            let kind = entry["type"].as_str().unwrap().to_owned();
            (
                kind,
                entry["endpoints"][0]["url"].as_str().unwrap().to_owned(),
            )
        };
        let services = said["token"]["catalog"]
            .as_array()
            .unwrap()
            .iter()
            .map(entry)
            .collect();
        Self { token, services }
    }

    pub(crate) fn get(&self, service: &str, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.services[service]))
            .header("X-Auth-Token", &self.token)
            .header("OpenStack-API-Version", MICROVERSION)
            .call()
            .unwrap();
        answer.body_mut().read_json().unwrap()
    }

    pub(crate) fn post(&self, service: &str, path: &str, body: &Value) -> Value {
        let mut answer = ureq::post(format!("{}{path}", self.services[service]))
            .header("X-Auth-Token", &self.token)
            .header("OpenStack-API-Version", MICROVERSION)
            .send_json(body)
            .unwrap();
        answer.body_mut().read_json().unwrap_or_default()
    }

    /// The status with which such a request is refused.
    pub(crate) fn refusal(&self, service: &str, path: &str, body: &Value) -> u16 {
        let asked = ureq::post(format!("{}{path}", self.services[service]))
            .header("X-Auth-Token", &self.token)
            .header("OpenStack-API-Version", MICROVERSION)
            .send_json(body);
        match asked {
            Err(ureq::Error::StatusCode(code)) => code,
            other => panic!("{path} {body}: {other:?}"),
        }
    }

    fn delete(&self, service: &str, path: &str) {
        ureq::delete(format!("{}{path}", self.services[service]))
            .header("X-Auth-Token", &self.token)
            .call()
            .unwrap();
    }

    /// Makes an image in Glance that does nothing but write to its memory, and a flavor for it.
    fn lay_out(&self) -> (String, String) {
        let images = self.get("image", "/v2/images?name=forestall-boot");
        if let Some(image) = images["images"][0]["id"].as_str() {
            return (image.to_owned(), "forestall".into());
        }
        let image = self.post(
            "image",
            "/v2/images",
            &json!({ "name": "forestall-boot", "disk_format": "raw", "container_format": "bare" }),
        );
        let image = image["id"].as_str().unwrap().to_owned();
        ureq::put(format!("{}/v2/images/{image}/file", self.services["image"]))
            .header("X-Auth-Token", &self.token)
            .header("Content-Type", "application/octet-stream")
            .send(&boot_image())
            .unwrap();
        self.post(
            "compute",
            "/flavors",
            &json!({ "flavor": { "name": "forestall", "id": "forestall", "ram": 64, "vcpus": 1, "disk": 1 } }),
        );
        (image, "forestall".into())
    }
}

/// A server, until it goes out of scope.
pub(crate) struct OpenStack {
    pub(crate) administrator: User,
    pub(crate) server: String,
}

impl OpenStack {
    /// One that runs on the site's first host.
    pub(crate) fn begin() -> Self {
        let administrator = User::administrator();
        let (image, flavor) = administrator.lay_out();
        let made = administrator.post(
            "compute",
            "/servers",
            &json!({ "server": {
                "name": "forestall", "imageRef": image, "flavorRef": flavor, "networks": "none",
                "availability_zone": format!("nova:{}", COMPUTE_HOSTS[0]),
            } }),
        );
        let made = Self {
            administrator,
            server: made["server"]["id"].as_str().unwrap().to_owned(),
        };
        let is = |status: &str| made.server()["status"] == status;
        wait_or(
            || is("ACTIVE") || is("ERROR"),
            || format!("{:#}", made.server()),
        );
        assert!(is("ACTIVE"), "{:#}", made.server());
        made
    }

    pub(crate) fn server(&self) -> Value {
        let answer = self
            .administrator
            .get("compute", &format!("/servers/{}", self.server));
        answer["server"].clone()
    }

    /// Those of its migrations that are under way.
    pub(crate) fn migrations(&self) -> Vec<Value> {
        let path = format!("/servers/{}/migrations", self.server);
        let answer = self.administrator.get("compute", &path);
        answer["migrations"].as_array().unwrap().clone()
    }

    /// What a driver of it has to be told.
    pub(crate) fn config(&self) -> NovaConfig {
        let host = |host: usize| {
            (
                HostName::new(HOSTS[host]).unwrap(),
                COMPUTE_HOSTS[host].to_owned(),
            )
        };
        NovaConfig {
            cloud: Some(MOVER.into()),
            clouds_file: Some(PathBuf::from(variable("FORESTALL_TESTBED")).join("clouds.yaml")),
            force_complete_after_s: None,
            servers: [(VmName::new(FUNCTION).unwrap(), self.server.clone())].into(),
            hosts: [0, 1].map(host).into(),
        }
    }
}

impl Machines for OpenStack {
    fn engine(&self) -> Value {
        json!({ "nova": self.config() })
    }

    /// It runs there already.
    fn begin(&self, host: usize) {
        assert!(self.runs(host));
    }

    fn runs(&self, host: usize) -> bool {
        let server = self.server();
        server["OS-EXT-SRV-ATTR:host"] == COMPUTE_HOSTS[host]
            && server["OS-EXT-STS:power_state"] == 1
    }

    fn crash(&self, _: usize) {
        let path = format!("/servers/{}/action", self.server);
        self.administrator
            .post("compute", &path, &json!({ "os-stop": null }));
    }
}

impl Drop for OpenStack {
    fn drop(&mut self) {
        self.administrator
            .delete("compute", &format!("/servers/{}", self.server));
    }
}
