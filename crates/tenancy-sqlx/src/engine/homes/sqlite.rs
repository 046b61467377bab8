use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::Sqlite;

use super::{MakesHomes, Plot, has_no_policies};

/// What there may be beside a file.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", UNFINISHED];

const UNFINISHED: &str = ".unfinished";

impl MakesHomes for Sqlite {
    const HAS_TEMPLATES: bool = true;

    async fn home_is_there(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        on_disk(plot, |path, _| path.try_exists()).await
    }

    async fn make_home(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        on_disk(plot, |path, template| make(&path, template.as_deref())).await
    }

    /// Whoever may read the directory may read the file.
    async fn let_in(_: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn drop_home(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        on_disk(plot, |path, _| drop_files(&path)).await
    }

    async fn empty_home(_: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        Err(has_no_policies())
    }
}

async fn on_disk<T: Send + 'static>(
    plot: &Plot<'_, Sqlite>,
    work: impl FnOnce(PathBuf, Option<PathBuf>) -> io::Result<T> + Send + 'static,
) -> Result<T, sqlx::Error> {
    let path = PathBuf::from(plot.target.database_name());
    let template = plot.template.map(PathBuf::from);
    match tokio::task::spawn_blocking(move || work(path, template)).await {
        Ok(done) => done.map_err(sqlx::Error::Io),
        // The runtime is shutting down.
        Err(_) => Err(sqlx::Error::WorkerCrashed),
    }
}

/// An empty file is an empty database. A copy gets its name when it is complete.
fn make(path: &Path, template: Option<&Path>) -> io::Result<bool> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let made = match template {
        None => create(path, true).map(drop),
        Some(template) => {
            let unfinished = with_end(path, UNFINISHED);
            let mut file = create(&unfinished, false)?;
            io::copy(&mut fs::File::open(template)?, &mut file)?;
            file.sync_all()?;
            let linked = fs::hard_link(&unfinished, path);
            fs::remove_file(unfinished)?;
            linked
        }
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// Readable by nobody else.
fn create(path: &Path, is_new: bool) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).create_new(is_new).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The log first: it is nobody's without the file.
fn drop_files(path: &Path) -> io::Result<()> {
    let beside = BESIDE.map(|end| with_end(path, end));
    for path in beside.iter().map(PathBuf::as_path).chain([path]) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
