//! `install.sh` of a site: copies the files into their places on the site's machine. It asks no network, starts nothing, and run again
//! changes only what differs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::description::Blob;
use super::units;
use super::{Description, File, Kind, Owner};

pub(crate) fn script(description: &Description, index: usize, files: &[File]) -> String {
    let site = &description.sites[index];
    let (user, etcd_user) = (&description.user, &description.etcd.user);
    let mut text = format!(
        "#!/bin/sh
# Made by `holdfast deploy plan`: puts the files of site {name} of {cluster} into their places on its machine. Run again, it changes what
# differs. With --day-one it also makes the folder of the site: never later, since one that is missing then is a disk that is not mounted.
set -eu
umask 077
here=$(CDPATH= cd -- \"$(dirname -- \"$0\")\" && pwd)
units=${{HOLDFAST_UNITS_DIR:-/etc/systemd/system}}
day_one=no
for word in \"$@\"; do
    case $word in
    --day-one) day_one=yes ;;
    *) echo \"usage: $0 [--day-one]\" >&2; exit 64 ;;
    esac
done
me=$(id -un)
if [ \"$me\" != root ] && {{ [ \"$me\" != {user} ] || [ \"$me\" != {etcd_user} ]; }}; then
    echo \"run it as root\" >&2
    exit 1
fi
made() {{
    id -u \"$1\" >/dev/null 2>&1 ||
        useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin \"$1\"
}}
folder() {{
    [ -d \"$1\" ] || {{ mkdir -p -- \"$(dirname -- \"$1\")\"; mkdir -- \"$1\"; echo \"made $1\"; }}
    chown -- \"$3\" \"$1\"
    chmod -- \"$2\" \"$1\"
}}
# Beside its name first and then renamed, so that no half file is ever read.
put() {{
    if ! cmp -s -- \"$here/$1\" \"$2\"; then
        cp -- \"$here/$1\" \"$2.new\"
        chown -- \"$4\" \"$2.new\"
        chmod -- \"$3\" \"$2.new\"
        mv -f -- \"$2.new\" \"$2\"
        echo \"put $2\"
    fi
    chown -- \"$4\" \"$2\"
    chmod -- \"$3\" \"$2\"
}}
# What the machine may have changed since stays.
keep() {{
    if [ -e \"$2\" ] && ! cmp -s -- \"$here/$1\" \"$2\"; then
        echo \"kept $2, which is another one than here\" >&2
    else
        put \"$@\"
    fi
}}

made {user}
made {etcd_user}
",
        name = site.name,
        cluster = description.name,
    );
    let owner = |owner: Owner| match owner {
        Owner::Root => "\"$me\"",
        Owner::Holdfast => user.as_str(),
        Owner::Etcd => etcd_user.as_str(),
    };
    let line = |text: &mut String, words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    // Parents are for all to look through: what is secret below has its own mode.
    for (path, mode, of) in [
        (&site.config_dir, "755", Owner::Root),
        (&site.etcd_config_dir, "755", Owner::Root),
        (&site.data_dir, "700", Owner::Holdfast),
        (&site.etcd_data_dir, "700", Owner::Etcd),
    ] {
        line(&mut text, format_args!("folder {} {mode} {}", path.display(), owner(of)));
    }
    let folders: BTreeSet<&Path> =
        files.iter().filter_map(|file| file.to.as_ref()).filter_map(|(to, _)| to.parent()).collect();
    for path in folders {
        if path != site.data_dir && path != site.config_dir && path != site.etcd_config_dir {
            line(&mut text, format_args!("folder {} 755 \"$me\"", path.display()));
        }
    }
    if let Blob::Folder(folder) = &site.blob {
        let folder = folder.display();
        line(
            &mut text,
            format_args!(
                "if [ $day_one = yes ]; then
    folder {folder} 700 {user}
elif [ ! -d {folder} ]; then
    echo '{folder} is not there: mount its disk; a new one begins empty: mkdir -m 700 {folder}; chown {user} {folder}' >&2
fi"
            ),
        );
    }
    let mut placed: Vec<&File> = files.iter().filter(|file| file.to.is_some()).collect();
    // Keys before their certificates: who reads both again when the certificate changes finds its key.
    placed.sort_by_key(|file| file.kind == Kind::Public);
    let inside = |file: &File| file.path.strip_prefix(&format!("{}/", site.name)).unwrap_or(&file.path).to_owned();
    for file in placed {
        let Some((to, of)) = &file.to else { continue };
        let way = if to.starts_with(&site.data_dir) { "keep" } else { "put" };
        line(&mut text, format_args!("{way} {} {} {:o} {}", inside(file), to.display(), file.mode, owner(*of)));
    }
    let mut names = Vec::new();
    for file in files.iter().filter(|file| file.path.contains("/systemd/")) {
        let name = Path::new(&file.path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        line(&mut text, format_args!("put {} \"$units/{name}\" 644 \"$me\"", inside(file)));
        names.push(name);
    }
    let _ = write!(
        text,
        "
for program in {program} {etcd}; do
    [ -x \"$program\" ] || echo \"$program is not there yet\" >&2
done
if [ -d /run/systemd/system ] && [ \"$units\" = /etc/systemd/system ]; then
    systemctl daemon-reload
    if systemctl is-active --quiet etcd.service; then
        echo 'etcd.service runs, which the package of etcd starts: if nobody else uses it, systemctl disable --now etcd' >&2
    fi
fi
echo 'in place: {units}. README.md says in which order to start them'
",
        program = description.program.display(),
        etcd = description.etcd.program.display(),
        units = names.join(", "),
    );
    debug_assert!(names.contains(&units::GATEWAY));
    text
}
