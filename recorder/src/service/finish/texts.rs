//! The texts of a recording, sealed as they are read: none is on the disk in the clear.

use super::{Finish, FinishError, sealing::SealedFile};
use crate::{
    evidence::{Artifact, ArtifactKind},
    finalize::{Events, texts},
    key::DataKey,
    seal::Recipients,
    service::spool::Spool,
};

impl Finish<'_> {
    /// `data.json`, also when nobody wrote anything: the rule asked for it.
    pub(super) fn seal_texts(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        key: &DataKey,
        events: &Events,
    ) -> Result<Artifact, FinishError> {
        let name = "data.json.age";
        let mut file = SealedFile::create(spool, name, recipients)?;
        let written = texts(&self.source(key), &mut file, &self.request(), events)?;
        if written.left_out > 0 || written.lost > 0 {
            tracing::warn!(recording = %self.entry.id, ?written, "texts are missing");
        }
        let (sealed, who) = (file.finish()?, recipients.fingerprints());
        let kind = ArtifactKind::Messages;
        Ok(Artifact::new(name.parse()?, kind, "application/json", &sealed, who))
    }
}
