//! Tags of FIX 4.2 and 4.4, by the names that FIX gives them.

/// Makes a constant for each tag, and the name that FIX gives it.
macro_rules! tags {
    ($($constant:ident = $tag:literal, $name:literal;)+) => {
        $(#[doc = concat!($name, " (", $tag, ").")] pub const $constant: u32 = $tag;)+

        /// What FIX calls a tag, such as `SenderSubID` for 50; `None` for a tag that is not in the list here.
        pub const fn name(tag: u32) -> Option<&'static str> {
            match tag { $($tag => Some($name),)+ _ => None }
        }

        #[cfg(test)]
        const ALL: &[(u32, &str)] = &[$(($tag, $name),)+];
    };
}

tags! {
    ACCOUNT = 1, "Account";
    AVG_PX = 6, "AvgPx";
    BEGIN_SEQ_NO = 7, "BeginSeqNo";
    BEGIN_STRING = 8, "BeginString";
    BODY_LENGTH = 9, "BodyLength";
    CHECK_SUM = 10, "CheckSum";
    CL_ORD_ID = 11, "ClOrdID";
    CUM_QTY = 14, "CumQty";
    END_SEQ_NO = 16, "EndSeqNo";
    EXEC_ID = 17, "ExecID";
    EXEC_TRANS_TYPE = 20, "ExecTransType";
    HANDL_INST = 21, "HandlInst";
    LAST_PX = 31, "LastPx";
    LAST_SHARES = 32, "LastShares";
    MSG_SEQ_NUM = 34, "MsgSeqNum";
    MSG_TYPE = 35, "MsgType";
    NEW_SEQ_NO = 36, "NewSeqNo";
    ORDER_ID = 37, "OrderID";
    ORDER_QTY = 38, "OrderQty";
    ORD_STATUS = 39, "OrdStatus";
    ORD_TYPE = 40, "OrdType";
    ORIG_CL_ORD_ID = 41, "OrigClOrdID";
    POSS_DUP_FLAG = 43, "PossDupFlag";
    PRICE = 44, "Price";
    REF_SEQ_NUM = 45, "RefSeqNum";
    SENDER_COMP_ID = 49, "SenderCompID";
    SENDER_SUB_ID = 50, "SenderSubID";
    SENDING_TIME = 52, "SendingTime";
    SIDE = 54, "Side";
    SYMBOL = 55, "Symbol";
    TARGET_COMP_ID = 56, "TargetCompID";
    TARGET_SUB_ID = 57, "TargetSubID";
    TEXT = 58, "Text";
    TIME_IN_FORCE = 59, "TimeInForce";
    TRANSACT_TIME = 60, "TransactTime";
    SIGNATURE = 89, "Signature";
    SECURE_DATA_LEN = 90, "SecureDataLen";
    SECURE_DATA = 91, "SecureData";
    SIGNATURE_LENGTH = 93, "SignatureLength";
    RAW_DATA_LENGTH = 95, "RawDataLength";
    RAW_DATA = 96, "RawData";
    POSS_RESEND = 97, "PossResend";
    ENCRYPT_METHOD = 98, "EncryptMethod";
    CXL_REJ_REASON = 102, "CxlRejReason";
    ORD_REJ_REASON = 103, "OrdRejReason";
    SECURITY_DESC = 107, "SecurityDesc";
    HEART_BT_INT = 108, "HeartBtInt";
    TEST_REQ_ID = 112, "TestReqID";
    ON_BEHALF_OF_COMP_ID = 115, "OnBehalfOfCompID";
    ORIG_SENDING_TIME = 122, "OrigSendingTime";
    GAP_FILL_FLAG = 123, "GapFillFlag";
    DELIVER_TO_COMP_ID = 128, "DeliverToCompID";
    RESET_SEQ_NUM_FLAG = 141, "ResetSeqNumFlag";
    SENDER_LOCATION_ID = 142, "SenderLocationID";
    TARGET_LOCATION_ID = 143, "TargetLocationID";
    EXEC_TYPE = 150, "ExecType";
    LEAVES_QTY = 151, "LeavesQty";
    XML_DATA_LEN = 212, "XmlDataLen";
    XML_DATA = 213, "XmlData";
    ENCODED_ISSUER_LEN = 348, "EncodedIssuerLen";
    ENCODED_ISSUER = 349, "EncodedIssuer";
    ENCODED_SECURITY_DESC_LEN = 350, "EncodedSecurityDescLen";
    ENCODED_SECURITY_DESC = 351, "EncodedSecurityDesc";
    ENCODED_LIST_EXEC_INST_LEN = 352, "EncodedListExecInstLen";
    ENCODED_LIST_EXEC_INST = 353, "EncodedListExecInst";
    ENCODED_TEXT_LEN = 354, "EncodedTextLen";
    ENCODED_TEXT = 355, "EncodedText";
    ENCODED_SUBJECT_LEN = 356, "EncodedSubjectLen";
    ENCODED_SUBJECT = 357, "EncodedSubject";
    ENCODED_HEADLINE_LEN = 358, "EncodedHeadlineLen";
    ENCODED_HEADLINE = 359, "EncodedHeadline";
    ENCODED_ALLOC_TEXT_LEN = 360, "EncodedAllocTextLen";
    ENCODED_ALLOC_TEXT = 361, "EncodedAllocText";
    ENCODED_UNDERLYING_ISSUER_LEN = 362, "EncodedUnderlyingIssuerLen";
    ENCODED_UNDERLYING_ISSUER = 363, "EncodedUnderlyingIssuer";
    ENCODED_UNDERLYING_SECURITY_DESC_LEN = 364, "EncodedUnderlyingSecurityDescLen";
    ENCODED_UNDERLYING_SECURITY_DESC = 365, "EncodedUnderlyingSecurityDesc";
    LAST_MSG_SEQ_NUM_PROCESSED = 369, "LastMsgSeqNumProcessed";
    REF_TAG_ID = 371, "RefTagID";
    REF_MSG_TYPE = 372, "RefMsgType";
    SESSION_REJECT_REASON = 373, "SessionRejectReason";
    BUSINESS_REJECT_REF_ID = 379, "BusinessRejectRefID";
    BUSINESS_REJECT_REASON = 380, "BusinessRejectReason";
    CXL_REJ_RESPONSE_TO = 434, "CxlRejResponseTo";
    ENCODED_LIST_STATUS_TEXT_LEN = 445, "EncodedListStatusTextLen";
    ENCODED_LIST_STATUS_TEXT = 446, "EncodedListStatusText";
    TEST_MESSAGE_INDICATOR = 464, "TestMessageIndicator";
    USERNAME = 553, "Username";
    PASSWORD = 554, "Password";
    ENCODED_LEG_ISSUER_LEN = 618, "EncodedLegIssuerLen";
    ENCODED_LEG_ISSUER = 619, "EncodedLegIssuer";
    ENCODED_LEG_SECURITY_DESC_LEN = 621, "EncodedLegSecurityDescLen";
    ENCODED_LEG_SECURITY_DESC = 622, "EncodedLegSecurityDesc";
    NEXT_EXPECTED_MSG_SEQ_NUM = 789, "NextExpectedMsgSeqNum";
    NEW_PASSWORD = 925, "NewPassword";
    MANUAL_ORDER_INDICATOR = 1028, "ManualOrderIndicator";
    ENCRYPTED_PASSWORD_METHOD = 1400, "EncryptedPasswordMethod";
    ENCRYPTED_PASSWORD_LEN = 1401, "EncryptedPasswordLen";
    ENCRYPTED_PASSWORD = 1402, "EncryptedPassword";
    ENCRYPTED_NEW_PASSWORD_LEN = 1403, "EncryptedNewPasswordLen";
    ENCRYPTED_NEW_PASSWORD = 1404, "EncryptedNewPassword";
    SESSION_STATUS = 1409, "SessionStatus";
    APPLICATION_SYSTEM_NAME = 1603, "ApplicationSystemName";
    APPLICATION_SYSTEM_VERSION = 1604, "ApplicationSystemVersion";
    APPLICATION_SYSTEM_VENDOR = 1605, "ApplicationSystemVendor";
}

/// The data field whose length stands in this one: 355 for 354. Such a field is read by its length and may hold SOH.
pub const fn data_of(length: u32) -> Option<u32> {
    match length {
        SIGNATURE_LENGTH => Some(SIGNATURE),
        // In all other pairs of FIX 4.2 and 4.4, and of the credentials, the data has the next number.
        SECURE_DATA_LEN
        | RAW_DATA_LENGTH
        | XML_DATA_LEN
        | ENCODED_ISSUER_LEN
        | ENCODED_SECURITY_DESC_LEN
        | ENCODED_LIST_EXEC_INST_LEN
        | ENCODED_TEXT_LEN
        | ENCODED_SUBJECT_LEN
        | ENCODED_HEADLINE_LEN
        | ENCODED_ALLOC_TEXT_LEN
        | ENCODED_UNDERLYING_ISSUER_LEN
        | ENCODED_UNDERLYING_SECURITY_DESC_LEN
        | ENCODED_LIST_STATUS_TEXT_LEN
        | ENCODED_LEG_ISSUER_LEN
        | ENCODED_LEG_SECURITY_DESC_LEN
        | ENCRYPTED_PASSWORD_LEN
        | ENCRYPTED_NEW_PASSWORD_LEN => Some(length + 1),
        _ => None,
    }
}

/// Tags below this one may be those of a length.
const LENGTHS_END: u32 = 1_408;

/// A bit for each tag that is the length of a data field.
const LENGTHS: [u64; LENGTHS_END as usize / 64] = {
    let (mut bits, mut tag) = ([0; LENGTHS_END as usize / 64], 0);
    while tag < LENGTHS_END {
        if data_of(tag).is_some() {
            bits[tag as usize / 64] |= 1 << (tag % 64);
        }
        tag += 1;
    }
    bits
};

/// Whether [`data_of`] knows a data field, in less time.
pub(super) const fn is_length(tag: u32) -> bool {
    // Most tags are lower than the first of them.
    tag >= SECURE_DATA_LEN && tag < LENGTHS_END && LENGTHS[tag as usize / 64] >> (tag % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_in_order_and_each_once() {
        assert!(ALL.windows(2).all(|two| two[0].0 < two[1].0));
        assert_eq!(name(SENDER_SUB_ID), Some("SenderSubID"));
        assert_eq!(name(0), None);
    }

    #[test]
    fn a_data_field_is_named_like_its_length() {
        for (tag, of) in ALL.iter().filter_map(|(tag, of)| data_of(*tag).map(|data| (data, *of))) {
            let data = name(tag).unwrap();
            assert!(of == format!("{data}Len") || of == format!("{data}Length"), "{of} {data}");
        }
        let lengths = ALL.iter().filter(|(_, name)| name.ends_with("Len") || *name == "RawDataLength");
        assert!(lengths.clone().all(|(tag, _)| data_of(*tag).is_some()));
        assert_eq!(lengths.count(), 17);
    }
}
