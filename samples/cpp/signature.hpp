// The signature of a Logon, with Crypto++: what it covers, and how it is written.
#pragma once

#include <array>
#include <functional>
#include <string>

#include <cryptopp/base64.h>
#include <cryptopp/filters.h>
#include <cryptopp/hmac.h>
#include <cryptopp/sha.h>

namespace doorward {

constexpr std::array<int, 11> SIGNED = {34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605};
constexpr const char* SCHEME = "CME-1-SHA-256";

// What is signed: these values, one a line; `value` gives "" for a field that is not in the message.
inline std::string canonical(const std::function<std::string(int)>& value) {
    std::string lines;
    for (int tag : SIGNED) {
        if (tag != SIGNED.front()) lines += '\n';
        lines += value(tag);
    }
    return lines;
}

// HMAC-SHA256 with the decoded Secret Key, in base64url without padding: 43 characters.
inline std::string signature(const std::string& canonical_message, const std::string& secret_key) {
    using namespace CryptoPP;
    std::string key, digest, text;
    StringSource decode(secret_key, true, new Base64URLDecoder(new StringSink(key)));
    HMAC<SHA256> hmac(reinterpret_cast<const byte*>(key.data()), key.size());
    StringSource compute(canonical_message, true, new HashFilter(hmac, new StringSink(digest)));
    // Crypto++ neither pads nor breaks lines in this alphabet unless it is told to.
    StringSource encode(digest, true, new Base64URLEncoder(new StringSink(text)));
    return text;
}

}  // namespace doorward
