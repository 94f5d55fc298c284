//! S3 by s3s-fs, which checks signatures and the checksums of single files: a thread of the test process, for as
//! long as that lives.

use std::{fs, net::Ipv4Addr, path::Path, sync::mpsc, thread};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

pub(crate) const ACCESS_KEY: &str = "CANARYkey";
pub(crate) const SECRET_KEY: &str = "CANARYsecret";

/// Its port. The files of its `bucket` are in `folder`.
pub(crate) fn start(folder: &Path) -> u16 {
    fs::create_dir_all(folder.join("bucket")).unwrap();
    let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            serve(listener, service).await;
        });
    });
    told.recv().unwrap()
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
