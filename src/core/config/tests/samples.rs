//! What `config/samples` shows works.

use super::*;
use crate::manifest;

#[test]
fn samples_are_valid_and_whole() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/samples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut names = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let parsed = manifest::parse(&name, &std::fs::read(&path).unwrap());
        assert_eq!(parsed.errors, vec![], "{name}");
        let mut world = World::default();
        for located in parsed.objects {
            world.apply(located.object);
        }
        let config = compile(&world, &settings(), &LastValid::new()).config;
        assert_eq!((config.errors, config.warnings), (vec![], vec![]), "{name}");
        let advertised = config.bgp_advertisements.len() + config.l2_advertisements.len();
        if name == "service.yaml" {
            assert_eq!(world.services().count(), 1);
        } else {
            assert_eq!((config.pools.len(), advertised), (1, 1), "{name}");
        }
        names.push(name);
    }
    assert_eq!(names, ["bgp.yaml", "dual-stack.yaml", "layer2.yaml", "service.yaml"]);
}
