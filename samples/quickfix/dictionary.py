"""The data dictionaries that QuickFIX holds our answers to, written as its XML.

Debian's libquickfix has none, and these are stricter than a stock one: a field that is not listed here for a message
makes QuickFIX reject it. What differs between the profiles: `cme-secure` has no 98, signs its Logon and tells the
next expected MsgSeqNum in a Logout.
"""

from xml.sax.saxutils import quoteattr

FIELDS = {
    1: ("Account", "STRING"), 6: ("AvgPx", "PRICE"), 7: ("BeginSeqNo", "INT"), 8: ("BeginString", "STRING"),
    9: ("BodyLength", "INT"), 10: ("CheckSum", "STRING"), 11: ("ClOrdID", "STRING"), 14: ("CumQty", "QTY"),
    16: ("EndSeqNo", "INT"), 17: ("ExecID", "STRING"), 20: ("ExecTransType", "CHAR"), 21: ("HandlInst", "CHAR"),
    31: ("LastPx", "PRICE"), 32: ("LastQty", "QTY"), 33: ("LinesOfText", "NUMINGROUP"), 34: ("MsgSeqNum", "INT"), 35: ("MsgType", "STRING"),
    36: ("NewSeqNo", "INT"), 37: ("OrderID", "STRING"), 38: ("OrderQty", "QTY"), 39: ("OrdStatus", "CHAR"),
    40: ("OrdType", "CHAR"), 41: ("OrigClOrdID", "STRING"), 43: ("PossDupFlag", "BOOLEAN"), 44: ("Price", "PRICE"),
    45: ("RefSeqNum", "INT"), 48: ("SecurityID", "STRING"), 49: ("SenderCompID", "STRING"),
    50: ("SenderSubID", "STRING"), 52: ("SendingTime", "UTCTIMESTAMP"), 54: ("Side", "CHAR"),
    55: ("Symbol", "STRING"), 56: ("TargetCompID", "STRING"), 57: ("TargetSubID", "STRING"), 58: ("Text", "STRING"),
    59: ("TimeInForce", "CHAR"), 60: ("TransactTime", "UTCTIMESTAMP"), 95: ("RawDataLength", "INT"),
    96: ("RawData", "DATA"), 97: ("PossResend", "BOOLEAN"), 98: ("EncryptMethod", "INT"), 102: ("CxlRejReason", "INT"),
    103: ("OrdRejReason", "INT"), 107: ("SecurityDesc", "STRING"), 108: ("HeartBtInt", "INT"),
    112: ("TestReqID", "STRING"), 122: ("OrigSendingTime", "UTCTIMESTAMP"), 123: ("GapFillFlag", "BOOLEAN"),
    141: ("ResetSeqNumFlag", "BOOLEAN"), 142: ("SenderLocationID", "STRING"), 148: ("Headline", "STRING"), 150: ("ExecType", "CHAR"),
    151: ("LeavesQty", "QTY"), 354: ("EncodedTextLen", "INT"), 355: ("EncodedText", "DATA"),
    369: ("LastMsgSeqNumProcessed", "INT"), 371: ("RefTagID", "INT"), 372: ("RefMsgType", "STRING"),
    373: ("SessionRejectReason", "INT"), 379: ("BusinessRejectRefID", "STRING"),
    380: ("BusinessRejectReason", "INT"), 434: ("CxlRejResponseTo", "CHAR"), 553: ("Username", "STRING"),
    554: ("Password", "STRING"), 789: ("NextExpectedMsgSeqNum", "INT"), 925: ("NewPassword", "STRING"),
    1400: ("EncryptedPasswordMethod", "STRING"), 1401: ("EncryptedPasswordLen", "INT"),
    1402: ("EncryptedPassword", "DATA"), 1409: ("SessionStatus", "INT"), 1603: ("ApplicationSystemName", "STRING"),
    1604: ("ApplicationSystemVersion", "STRING"), 1605: ("ApplicationSystemVendor", "STRING"),
    20030: ("OneTimePassword", "STRING"),
}  # fmt: skip

HEADER = ([8, 9, 35, 49, 56, 34, 52], [50, 57, 142, 369, 43, 97, 122])

# The one repeating group: its count, and the fields of each part.
GROUPS = {33: [58]}

ORDER = ([11, 38, 40, 54, 55, 60], [1, 21, 41, 44, 48, 59, 107])

# Name, fields that must be there, fields that may.
MESSAGES = {
    "0": ("Heartbeat", [], [112]),
    "1": ("TestRequest", [112], []),
    "2": ("ResendRequest", [7, 16], []),
    "3": ("Reject", [45], [58, 371, 372, 373]),
    "4": ("SequenceReset", [36], [123]),
    "5": ("Logout", [], [58]),
    "8": ("ExecutionReport", [6, 14, 17, 37, 39, 54, 55, 150, 151], [1, 11, 31, 32, 38, 40, 41, 44, 48, 58, 59, 60, 103, 107]),
    "9": ("OrderCancelReject", [11, 37, 39, 41, 434], [58, 60, 102]),
    "A": ("Logon", [108], [141]),
    "B": ("News", [33, 148], []),
    "D": ("NewOrderSingle", *ORDER),
    "F": ("OrderCancelRequest", [11, 41, 54, 55, 60], [37, 38]),
    "G": ("OrderCancelReplaceRequest", *ORDER),
    "j": ("BusinessMessageReject", [45, 372, 380], [58, 379]),
}  # fmt: skip


def messages(profile, begin_string):
    """The messages of this profile in this version of FIX."""
    made = {msg_type: (name, list(must), list(may)) for msg_type, (name, must, may) in MESSAGES.items()}
    if begin_string == "FIX.4.2":
        made["8"][1].append(20)  # ExecTransType went with FIX 4.3
    if profile == "cme-secure":
        made["A"][2].extend([354, 355, 1400, 1401, 1402, 1603, 1604, 1605])
        made["5"][2].append(789)
    else:
        made["A"][1].append(98)
        made["A"][2].extend([95, 96, 553, 554, 925, 1409, 20030])
    return made


def dictionary(profile, begin_string):
    """One dictionary as XML; `profile` is `cme-secure` or `trader-otp`, `begin_string` FIX.4.2 or FIX.4.4."""

    def fields(must, may):
        lines = []
        for tag in [*must, *may]:
            named = f"name={quoteattr(FIELDS[tag][0])} required='{'Y' if tag in must else 'N'}'"
            if tag in GROUPS:
                lines += [f"<group {named}>", *fields(GROUPS[tag], []), "</group>"]
            else:
                lines.append(f"<field {named}/>")
        return lines

    _, major, minor = begin_string.split(".")
    lines = [f"<fix major='{major}' minor='{minor}'>", "<header>", *fields(*HEADER), "</header>"]
    lines += ["<trailer>", *fields([10], []), "</trailer>", "<messages>"]
    for msg_type, (name, must, may) in messages(profile, begin_string).items():
        kind = "admin" if msg_type in "012345A" else "app"
        lines.append(f"<message name='{name}' msgtype='{msg_type}' msgcat='{kind}'>")
        # QuickFIX wants at least one element in a message.
        lines += [*fields(must, may or ([] if must else [58])), "</message>"]
    lines += ["</messages>", "<fields>"]
    for tag, (name, type_) in FIELDS.items():
        lines.append(f"<field number='{tag}' name='{name}' type='{type_}'/>")
    return "\n".join([*lines, "</fields>", "</fix>", ""])
