// Aws-s3 puts objects into an S3 server that closes connections under its
// clients, and gets them back, by the AWS SDK for Go v2: once with
// http.Transport beneath the SDK, once with idlewise. Then it does so over TLS,
// with AWS_CA_BUNDLE set.
//
//	go run .
//
// It exits with 1 if the SDK saw a fault through idlewise, or if there was none
// to see.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	callers = 6
	rounds  = 6
	bucket  = "claims"

	// Callers pause so long now and then, and the server closes what idles so
	// long.
	idle = 300 * time.Millisecond
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("aws-s3: ", err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "An S3 server that closes connections under its clients, over HTTP:")
	if err := os.Unsetenv("AWS_CA_BUNDLE"); err != nil {
		return err
	}
	if err := compare(ctx, out, false); err != nil {
		return err
	}

	fmt.Fprintln(out, "\nThe same over TLS, its certificate in AWS_CA_BUNDLE:")
	dir, err := os.MkdirTemp("", "aws-s3")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("AWS_CA_BUNDLE", filepath.Join(dir, "bundle.pem")); err != nil {
		return err
	}
	return compare(ctx, out, true)
}

// compare makes the same calls with either transport, at the same time.
func compare(ctx context.Context, out io.Writer, tls bool) error {
	theirs, err := start("http.Transport", tls)
	if err != nil {
		return err
	}
	defer theirs.Close()
	ours, err := start("idlewise", tls)
	if err != nil {
		return err
	}
	defer ours.Close()
	return trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, r == ours) })
}

// start starts an S3 server behind faults.
func start(name string, tls bool) (*trial.Run, error) {
	r, err := trial.Start(name, faultserver.Config{
		Handler:     gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server(),
		TLS:         tls,
		Protocols:   http1(), // as S3
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.CloseOnReuse, IdleAtLeast: idle / 3, Probability: 0.5},
			{Kind: faultserver.RstAfterRequest, IdleAtLeast: idle / 3, Method: "PUT", Path: "/" + bucket + "/small-*", Probability: 0.5},
		},
		Seed: 1,
	})
	if err != nil || !tls {
		return r, err
	}
	// Both servers have the same certificate.
	return r, os.WriteFile(os.Getenv("AWS_CA_BUNDLE"), r.Server.CertificatePEM(), 0o600)
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// load loads the SDK's configuration, which reads AWS_CA_BUNDLE.
func load(ctx context.Context, server string, more ...func(*config.LoadOptions) error) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, append(more,
		config.WithRegion("eu-central-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("id", "secret", "")),
		config.WithBaseEndpoint(server),
		// The server knows no checksums in trailers.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithSharedConfigFiles([]string{}), // nothing of the user's
		config.WithSharedCredentialsFiles([]string{}),
	)...)
}

// calls puts and gets objects, large and small, with pauses as long as the
// server's patience.
func calls(ctx context.Context, r *trial.Run, ours bool) error {
	cfg, err := load(ctx, r.Server.URL)
	if err != nil {
		return err
	}
	if ours {
		transport, err := useIdlewise(&cfg, idlewise.Config{})
		if err != nil {
			return err
		}
		defer transport.Close()
		cfg.HTTPClient = newClient(r.Watch(transport)) // to count what the SDK sees
	} else {
		sdk, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
		if !ok {
			sdk = awshttp.NewBuildableClient()
		}
		transport := sdk.GetTransport()
		defer transport.CloseIdleConnections()
		cfg.HTTPClient = &http.Client{Transport: r.Watch(transport), CheckRedirect: keepMethod}
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = true
		o.DisableLogOutputChecksumValidationSkipped = true
	})

	r.Do("create the bucket", func() error {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
		return err
	})
	trial.Callers(callers, func(caller int) {
		for round := range rounds {
			if caller == 0 && round == rounds/2 {
				r.Server.Restart()
			}
			key, size := fmt.Sprintf("small-%d-%d", caller, round), 1<<10
			if round%3 == 1 {
				key, size = fmt.Sprintf("large-%d-%d", caller, round), 3<<20
			}
			object := bytes.Repeat([]byte(key), size/len(key))
			time.Sleep(idle + time.Duration(caller-callers/2)*time.Millisecond)
			r.Do("put "+key, func() error { return put(ctx, client, key, object) })
			time.Sleep(idle / 2)
			r.Do("get "+key, func() error { return get(ctx, client, key, object) })
		}
	})
	return nil
}

func put(ctx context.Context, client *s3.Client, key string, object []byte) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: bytes.NewReader(object),
	})
	return err
}

func get(ctx context.Context, client *s3.Client, key string, want []byte) error {
	o, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	got, err := io.ReadAll(o.Body)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("got %d bytes, which are not the %d that were put", len(got), len(want))
	}
	return err
}
