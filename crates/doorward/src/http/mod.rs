//! http (being merged)
#![allow(missing_docs)]
pub mod local {
    use std::sync::Arc;
    pub fn open(
        _: &crate::config::Admin,
        _: Arc<crate::gate::Gate>,
        _: Option<Arc<crate::clock::Clock>>,
    ) -> Result<L, crate::fault::Fault> {
        Ok(L)
    }
    pub struct L;
    impl L {
        pub async fn serve(self, _: tokio::sync::watch::Receiver<bool>) {}
    }
}
pub mod ops {
    use std::sync::Arc;
    pub fn open(
        c: &crate::config::Metrics,
        _: Arc<crate::gate::Gate>,
        _: metrics_exporter_prometheus::PrometheusHandle,
    ) -> Result<L, crate::fault::Fault> {
        Ok(L(c.listen))
    }
    pub struct L(std::net::SocketAddr);
    impl L {
        pub async fn serve(self, _: tokio::sync::watch::Receiver<bool>) {}
        pub fn address(&self) -> std::net::SocketAddr {
            self.0
        }
    }
}
