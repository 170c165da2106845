//! `R = put_nd_ra_opts(...);`

use weft_lang::Field;
use weft_lang::action::PacketOption;

use super::opcode::Opcode;
use super::{Done, Encoder, Unsupported};
use crate::advert;

impl Encoder<'_, '_> {
    pub(super) fn put_nd_ra_opts(&mut self, result: Field, options: &[PacketOption]) -> Done {
        let mut params = self.verdict(Some(result))?.to_vec();
        let advert = advert::of_action(options).map_err(|name| {
            Unsupported::Action(format!("put_nd_ra_opts with such a value of {name}"))
        })?;
        params.extend(advert);
        self.send(Opcode::PutNdRaOpts, &params, true, None);
        Ok(())
    }
}
