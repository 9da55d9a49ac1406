package mafalda

// SRTPCryptoSuite names an SRTP protection profile (RFC 4568 §6.2, RFC 7714 §14.2).
type SRTPCryptoSuite string

// The crypto suites that PlainTransport and PipeTransport support.
const (
	SRTPAES256GCM  SRTPCryptoSuite = "AEAD_AES_256_GCM"
	SRTPAES128GCM  SRTPCryptoSuite = "AEAD_AES_128_GCM"
	SRTPAES128CM80 SRTPCryptoSuite = "AES_CM_128_HMAC_SHA1_80"
	SRTPAES128CM32 SRTPCryptoSuite = "AES_CM_128_HMAC_SHA1_32"
)

// SRTPParameters is the key that one side protects its packets with.
type SRTPParameters struct {
	CryptoSuite SRTPCryptoSuite `json:"cryptoSuite"` // required
	// KeyBase64 is the master key followed by the master salt, in base64. Required.
	KeyBase64 string `json:"keyBase64"`
}
