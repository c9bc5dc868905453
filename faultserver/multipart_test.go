package faultserver_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestUploadedFilesAreGoneWithTheRequest(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		dir := t.TempDir()
		for _, name := range []string{"TMPDIR", "TMP"} { // see os.TempDir
			t.Setenv(name, dir)
		}
		count := func() int {
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			return len(files)
		}
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, r.ParseMultipartForm(0))
			require.Equal(t, 1, count())
			if r.URL.Path == "/panics" {
				panic(http.ErrAbortHandler)
			}
		})
		s := faultserver.Start(t, cfg)
		for _, path := range []string{"/", "/panics"} {
			var form bytes.Buffer
			mw := multipart.NewWriter(&form)
			file, err := mw.CreateFormFile("file", "name")
			require.NoError(t, err)
			_, err = file.Write(make([]byte, 11<<20)) // 10 MB stay in memory
			require.NoError(t, err)
			require.NoError(t, mw.Close())
			resp, err := s.Client().Post(s.URL+path, mw.FormDataContentType(), &form)
			if path == "/" {
				require.NoError(t, err)
				resp.Body.Close()
			} else {
				require.Error(t, err)
			}
			require.Zero(t, count())
		}
	})
}
