// Command canonical takes out of an image what tells when and by which engine it was built, so that builds of the same files
// give the same image ID. SOURCE_DATE_EPOCH does this in some versions of some engines.
//
//	canonical -time SECONDS -tag TAG FROM TO
//
// FROM and TO are archives as `docker save` writes them.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	seconds := flag.Int64("time", 0, "when the image shall say that it was created, in seconds since 1970")
	tag := flag.String("tag", "", "name of the image in the archive that is written")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: canonical -time SECONDS -tag TAG FROM TO")
		os.Exit(2)
	}
	if err := rewrite(flag.Arg(0), flag.Arg(1), *tag, time.Unix(*seconds, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "canonical:", err)
		os.Exit(1)
	}
}

func rewrite(from, to, tag string, at time.Time) error {
	reference, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	image, err := tarball.ImageFromPath(from, nil)
	if err != nil {
		return err
	}
	if image, err = canonical(image, at); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return tarball.WriteToFile(to, reference, image)
}

// canonical takes from an image and its files their times, and what else builders leave behind: among it the image's parent in
// the builder's cache, which mutate.Canonical does not know.
func canonical(image v1.Image, at time.Time) (v1.Image, error) {
	image, err := mutate.Canonical(image)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: at}
	config.Config.Image = ""
	return mutate.ConfigFile(image, config)
}
