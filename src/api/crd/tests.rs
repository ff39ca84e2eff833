use std::fs;
use std::path::Path;

use super::*;

/// `FERROLB_UPDATE=1` writes the files instead.
#[test]
fn config_crd_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/crd");
    let files: Vec<(String, String)> =
        KINDS.iter().map(|k| (format!("{}.yaml", k.crd_name()), k.crd_yaml())).collect();
    if std::env::var("FERROLB_UPDATE").is_ok_and(|v| v == "1") {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &files {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &files {
        let on_disk = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(
            &on_disk, text,
            "config/crd/{name} is stale: run FERROLB_UPDATE=1 cargo test -p ferrolb-api"
        );
    }
    let mut there: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    there.sort();
    let mut expected: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    expected.sort();
    assert_eq!(there, expected, "config/crd holds files of kinds that don't exist");
}

/// Whether MetalLB's schemas have this CEL rule.
fn is_metallbs(validation: &Value) -> bool {
    validation["rule"].as_str().is_some_and(|rule| crate::rules::METALLBS.contains(&rule))
}

/// One line for each field: path, type, format, range, default, what is required, rules.
fn facts(schema: &Value, path: &str, lines: &mut Vec<String>) {
    let map = schema.as_object().unwrap();
    if *schema == selector_schema(schema) {
        lines.push(format!("{path} selector"));
        return;
    }
    let mut line = format!("{path} {}", map["type"].as_str().unwrap());
    let known = [
        "format",
        "minimum",
        "maximum",
        "minItems",
        "minLength",
        "maxLength",
        "default",
        "enum",
        "required",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    ];
    for keyword in known {
        if let Some(value) = map.get(keyword) {
            let value = value.to_string().replace('"', "");
            line.push_str(&format!(" {}={value}", keyword.trim_start_matches("x-kubernetes-")));
        }
    }
    for (keyword, shown) in [("pattern", "pattern"), ("x-kubernetes-validations", "rules")] {
        match map.get(keyword) {
            Some(Value::Array(rules)) => match rules.iter().filter(|r| is_metallbs(r)).count() {
                0 => {}
                count => line.push_str(&format!(" {shown}={count}")),
            },
            Some(_) => line.push_str(&format!(" {shown}")),
            None => {}
        }
    }
    lines.push(line);
    for (name, inner) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        facts(inner, &format!("{path}.{name}"), lines);
    }
    if let Some(inner) = map.get("items") {
        facts(inner, &format!("{path}[]"), lines);
    }
    if let Some(inner) = map.get("additionalProperties") {
        facts(inner, &format!("{path}{{}}"), lines);
    }
}

/// The schema of a LabelSelector with the description of `other`.
fn selector_schema(other: &Value) -> Value {
    let mut selector = schema::of::<crate::selector::LabelSelector>();
    selector["description"] = other["description"].clone();
    selector
}

fn all_facts() -> String {
    let mut text = String::new();
    for kind in &KINDS {
        for version in kind.versions {
            let mut lines = vec![];
            facts(&kind.schema(version), "", &mut lines);
            // The same for all kinds, tested apart.
            lines.retain(|l| {
                ![".apiVersion string", ".kind string", ".metadata object"].contains(&l.as_str())
            });
            text.push_str(&format!("{} {}:{}\n", kind.name, version.name, lines.join("\n    ")));
        }
    }
    text
}

/// MetalLB's schemas, as facts, with the differences that docs/differences-from-metallb.md lists.
#[test]
fn schemas_say_what_metallbs_say() {
    let expected = include_str!("facts.txt");
    let ours = all_facts();
    for (line, (ours, expected)) in ours.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, expected, "facts.txt line {}", line + 1);
    }
    assert_eq!(ours.lines().count(), expected.lines().count(), "facts.txt ends elsewhere");
}

#[test]
fn schemas_are_structural() {
    fn walk(node: &Value, path: &str) {
        let map = node.as_object().unwrap_or_else(|| panic!("{path} is no schema"));
        assert!(map["type"].is_string(), "{path} has no single type");
        for keyword in map.keys() {
            let allowed = [
                "additionalProperties",
                "default",
                "description",
                "enum",
                "format",
                "items",
                "maxLength",
                "maximum",
                "minItems",
                "minLength",
                "minimum",
                "pattern",
                "properties",
                "required",
                "type",
                "x-kubernetes-list-map-keys",
                "x-kubernetes-list-type",
                "x-kubernetes-map-type",
                "x-kubernetes-validations",
            ];
            assert!(allowed.contains(&keyword.as_str()), "{path} has {keyword}");
        }
        assert_eq!(map["type"] == "array", map.contains_key("items"), "{path}");
        let properties = map.get("properties").and_then(Value::as_object);
        for name in map.get("required").and_then(Value::as_array).into_iter().flatten() {
            assert!(properties.unwrap().contains_key(name.as_str().unwrap()), "{path} lacks {name}");
        }
        for (name, inner) in properties.into_iter().flatten() {
            // An API server's own fields have no description there.
            assert!(
                inner.get("description").is_some() || name == "metadata",
                "{path}.{name} isn't described"
            );
            walk(inner, &format!("{path}.{name}"));
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(inner) = map.get(keyword) {
                walk(inner, &format!("{path}.{keyword}"));
            }
        }
    }
    for kind in &KINDS {
        for version in kind.versions {
            walk(&kind.schema(version), kind.name);
        }
    }
}

#[test]
fn definitions_are_as_metallbs() {
    for (kind, crd) in KINDS.iter().zip(all()) {
        assert_eq!(crd["metadata"]["name"], format!("{}.metallb.io", kind.plural));
        assert_eq!(crd["spec"]["group"], "metallb.io");
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        for version in crd["spec"]["versions"].as_array().unwrap() {
            assert_eq!(version["served"], true);
            assert_eq!(version["subresources"], json!({"status": {}}));
        }
    }
    assert_eq!(
        KINDS.map(|k| k.plural),
        [
            "bfdprofiles",
            "bgpadvertisements",
            "bgppeers",
            "communities",
            "configurationstates",
            "ipaddresspools",
            "l2advertisements",
            "servicebgpstatuses",
            "servicel2statuses",
        ]
    );
    let peers = Kind::find("BGPPeer").unwrap().crd();
    assert_eq!(peers["spec"]["conversion"], json!({"strategy": "None", "webhook": null}));
    let versions = peers["spec"]["versions"].as_array().unwrap();
    let shown = |v: &Value| (v["name"].clone(), v["storage"].clone(), v["deprecated"].clone());
    assert_eq!(
        versions.iter().map(shown).collect::<Vec<_>>(),
        [(json!("v1beta1"), json!(false), json!(true)), (json!("v1beta2"), json!(true), Value::Null)]
    );
    assert_eq!(
        versions[1]["additionalPrinterColumns"],
        json!([
            {"name": "Address", "type": "string", "jsonPath": ".spec.peerAddress"},
            {"name": "ASN", "type": "string", "jsonPath": ".spec.peerASN"},
            {"name": "BFD Profile", "type": "string", "jsonPath": ".spec.bfdProfile"},
            {"name": "Multi Hops", "type": "string", "jsonPath": ".spec.ebgpMultiHop"},
        ])
    );
    let advertisements = Kind::find("L2Advertisement").unwrap().crd();
    assert_eq!(
        advertisements["spec"]["versions"][0]["additionalPrinterColumns"][3],
        json!({"name": "Node Selectors", "type": "string", "jsonPath": ".spec.nodeSelectors", "priority": 10})
    );
}

/// The two versions have one shape: every field of one is a field of the other, so that conversion loses nothing.
#[test]
fn peer_versions_have_one_shape() {
    fn shape(schema: &Value) -> Value {
        let mut shape = Map::new();
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            shape.insert(name.clone(), shape_of(inner));
        }
        Value::Object(shape)
    }
    fn shape_of(schema: &Value) -> Value {
        json!([schema["type"], shape(schema), schema.get("items").map(shape_of)])
    }
    let kind = Kind::find("BGPPeer").unwrap();
    let shapes: Vec<Value> = kind.versions.iter().map(|v| shape(&kind.schema(v))).collect();
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn yaml_reads_back_as_what_was_written() {
    let read: Vec<Value> = serde_saphyr::from_multiple(&yaml()).unwrap();
    assert_eq!(read, all());
}

/// The text with the crates' version in the line that begins with `key`.
fn with_version(text: &str, key: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with(key) {
            format!("{}{key}{}\n", &line[..indent], env!("CARGO_PKG_VERSION"))
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

/// `deploy/ferrolb.yaml` is put together here from the definitions, `config` and `deploy/parts`; the version in
/// `deploy/kustomization.yaml` and in the chart is that of the crates. `FERROLB_UPDATE=1` writes them instead.
#[test]
fn deploy_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let image = format!("localhost/ferrolb:{}", env!("CARGO_PKG_VERSION"));
    let part = |path: &str| read(path).replace("image: IMAGE", &format!("image: {image}"));
    let mut documents = vec![part("deploy/parts/namespace.yaml")];
    documents.extend(KINDS.iter().map(|kind| kind.crd_yaml()));
    documents.extend(
        [
            "config/rbac/controller.yaml",
            "config/rbac/speaker.yaml",
            "deploy/parts/controller.yaml",
            "deploy/parts/speaker.yaml",
            // Last, so that nothing above is asked about.
            "config/webhook/webhook.yaml",
        ]
        .map(part),
    );
    let header = "# Everything that FerroLB needs in a cluster: kubectl apply -f ferrolb.yaml\n\
                  # Made of config/crd, config/rbac, config/webhook and deploy/parts by `make deploy`; edit those.\n";
    let whole = format!("{header}{}", documents.join("---\n"));
    let files = [
        ("deploy/ferrolb.yaml", whole.clone()),
        ("deploy/kustomization.yaml", with_version(&read("deploy/kustomization.yaml"), "newTag: ")),
        (
            "deploy/helm/ferrolb/Chart.yaml",
            with_version(&with_version(&read("deploy/helm/ferrolb/Chart.yaml"), "version: "), "appVersion: "),
        ),
    ];
    for (path, text) in &files {
        if std::env::var("FERROLB_UPDATE").is_ok_and(|v| v == "1") {
            fs::write(root.join(path), text).unwrap();
        }
        assert!(read(path) == *text, "{path} is stale: run make deploy");
    }

    let parsed: Vec<Value> = serde_saphyr::from_multiple(&whole).unwrap();
    let named = |kind: &str, name: &str| {
        parsed
            .iter()
            .find(|d| d["kind"] == kind && d["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{kind} {name}"))
    };
    let crds: Vec<&Value> = parsed.iter().filter(|d| d["kind"] == "CustomResourceDefinition").collect();
    assert_eq!(crds.len(), KINDS.len());
    for crd in crds {
        assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None", "webhook": null}));
    }
    for (kind, name) in [("Deployment", "controller"), ("DaemonSet", "speaker")] {
        let pod = &named(kind, name)["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"], json!({"app": "metallb", "component": name}));
        assert_eq!(named(kind, name)["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], json!(image));
        assert_eq!(container["resources"]["limits"]["cpu"], Value::Null);
        assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let security = &container["securityContext"];
        assert_eq!(
            (&security["allowPrivilegeEscalation"], &security["readOnlyRootFilesystem"]),
            (&json!(false), &json!(true))
        );
        let added = if name == "speaker" {
            json!({"drop": ["ALL"], "add": ["NET_RAW"]})
        } else {
            json!({"drop": ["ALL"]})
        };
        assert_eq!(security["capabilities"], added);
    }
    assert_eq!(
        named("Deployment", "controller")["spec"]["template"]["spec"]["securityContext"]["runAsUser"],
        65534
    );
}
