// Prints how Go, and so docker, skopeo and Podman, read the archives that standard input names: one JSON line for each.
package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

type member struct{ Type, Name, Target, Hash string }

func read(path string) ([]member, error) {
	members := []member{}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return members, nil
		} else if err != nil {
			return nil, err
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			return nil, err
		}
		members = append(members, member{string(header.Typeflag), header.Name, header.Linkname, fmt.Sprintf("%x", hash.Sum(nil))})
	}
}

func main() {
	output := json.NewEncoder(os.Stdout)
	for paths := bufio.NewScanner(os.Stdin); paths.Scan(); {
		members, err := read(paths.Text())
		output.Encode(map[string]any{"members": members, "failed": err != nil})
	}
}
