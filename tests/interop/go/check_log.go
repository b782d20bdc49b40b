// Command check_log reads a log written by Landfall the way the Go checksum database reads its own: with sumdb/note and
// sumdb/tlog. It verifies the checkpoint and a cosignature on it, computes proofs from the tiles, compares them with
// Landfall's, checks Landfall's, and hashes an entry bundle against its tile.
//
// Usage: check_log DIR < claims.json; prints on success a note of its own, signed by a key made here, after its verifier key.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/ioutil"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// claims is what Landfall says about the log in DIR.
type claims struct {
	LogKey           string      `json:"log_key"`
	CosignerName     string      `json:"cosigner_name"`
	CosignerPublic   []byte      `json:"cosigner_public"`
	CosignedAt       uint64      `json:"cosigned_at"`
	Index            int64       `json:"index"`
	InclusionProof   []tlog.Hash `json:"inclusion_proof"`
	OldSize          int64       `json:"old_size"`
	OldRoot          tlog.Hash   `json:"old_root"`
	ConsistencyProof []tlog.Hash `json:"consistency_proof"`
	Bundle           int64       `json:"bundle"`
}

// cosigner verifies cosignature/v1 lines, which sumdb/note does not know.
type cosigner struct {
	name   string
	public ed25519.PublicKey
	seen   uint64
}

func (c *cosigner) Name() string { return c.name }

func (c *cosigner) KeyHash() uint32 {
	digest := sha256.Sum256(append([]byte(c.name+"\n\x04"), c.public...))
	return binary.BigEndian.Uint32(digest[:])
}

func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	c.seen = binary.BigEndian.Uint64(sig)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", c.seen, msg)
	return ed25519.Verify(c.public, []byte(message), sig[8:])
}

// tileDir reads tiles below a directory. tlog's own paths name the height; those of tlog-tiles do not.
type tileDir string

func (d tileDir) Height() int { return tileHeight }

func (d tileDir) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		read, err := ioutil.ReadFile(filepath.Join(string(d), path))
		if err != nil {
			return nil, err
		}
		data = append(data, read)
	}
	return data, nil
}

func (d tileDir) SaveTiles([]tlog.Tile, [][]byte) {}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func same(ours, theirs []tlog.Hash) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			return false
		}
	}
	return true
}

func main() {
	dir := os.Args[1]
	var claim claims
	must(json.NewDecoder(os.Stdin).Decode(&claim), "claims")

	signed, err := ioutil.ReadFile(filepath.Join(dir, "checkpoint"))
	must(err, "checkpoint")
	log, err := note.NewVerifier(claim.LogKey)
	must(err, "verifier key")
	witness := &cosigner{name: claim.CosignerName, public: claim.CosignerPublic}
	opened, err := note.Open(signed, note.VerifierList(log, witness))
	must(err, "note")
	if len(opened.Sigs) != 2 || len(opened.UnverifiedSigs) != 0 {
		fail("note: %d signatures verified and %d not, want 2 and 0", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	if witness.seen != claim.CosignedAt {
		fail("cosignature: made at %d, want %d", witness.seen, claim.CosignedAt)
	}

	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "tree size")
	root, err := tlog.ParseHash(lines[2])
	must(err, "root")
	tree := tlog.Tree{N: size, Hash: root}
	hashes := tlog.TileHashReader(tree, tileDir(dir))

	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, claim.Index)})
	must(err, "leaf")
	record, err := tlog.ProveRecord(size, claim.Index, hashes)
	must(err, "inclusion")
	if !same(record, claim.InclusionProof) {
		fail("inclusion: the proofs differ")
	}
	must(tlog.CheckRecord(claim.InclusionProof, size, root, claim.Index, leaf[0]), "inclusion")

	growth, err := tlog.ProveTree(size, claim.OldSize, hashes)
	must(err, "consistency")
	if !same(growth, claim.ConsistencyProof) {
		fail("consistency: the proofs differ")
	}
	must(tlog.CheckTree(claim.ConsistencyProof, size, root, claim.OldSize, claim.OldRoot), "consistency")

	entries := tlog.Tile{H: tileHeight, L: 0, N: claim.Bundle, W: 1 << tileHeight}
	if rest := size - claim.Bundle<<tileHeight; rest < 1<<tileHeight {
		entries.W = int(rest)
	}
	bundlePath := strings.Replace(entries.Path(), "tile/8/0/", "tile/entries/", 1)
	bundle, err := ioutil.ReadFile(filepath.Join(dir, bundlePath))
	must(err, "bundle")
	var fromEntries []byte
	for len(bundle) > 0 {
		length := int(binary.BigEndian.Uint16(bundle))
		hash := tlog.RecordHash(bundle[2 : 2+length])
		fromEntries = append(fromEntries, hash[:]...)
		bundle = bundle[2+length:]
	}
	tiles, err := tileDir(dir).ReadTiles([]tlog.Tile{entries})
	must(err, "bundle's tile")
	if !bytes.Equal(fromEntries, tiles[0]) {
		fail("bundle: its entries are not the leaves of its tile")
	}

	secret, public, err := note.GenerateKey(rand.Reader, "go.example/log")
	must(err, "key")
	signer, err := note.NewSigner(secret)
	must(err, "signer")
	text := fmt.Sprintf("go.example/log\n%d\n%s\n", size, base64.StdEncoding.EncodeToString(root[:]))
	answer, err := note.Sign(&note.Note{Text: text}, signer)
	must(err, "sign")
	fmt.Printf("%s\n%s", public, answer)
}
