// Command recording records what kubectl kitops shows on a terminal, against a real API
// server with Artifacts whose status it changes, for the README:
//
//	go run ./test/recording docs/images/plugin.cast
//	npx svg-term-cli@2.1.1 --in docs/images/plugin.cast --out docs/images/plugin.svg --window
//
// A test compares the text of the recording with what the plugin shows now.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/apis"
	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// The size of the terminal.
const (
	width  = 124
	height = 22
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "write the file for the recording")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := record(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// record writes a recording to a file.
func record(ctx context.Context, path string) error {
	config, stop, err := apiserver.Start(ctx)
	if err != nil {
		return err
	}
	b, _, err := play(ctx, config)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// A cast is a recording in the format of asciinema
// (https://docs.asciinema.org/manual/asciicast/v2/).
type cast struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

// add adds what was written to the terminal.
func (c *cast) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line, err := json.Marshal([]any{time.Since(c.start).Seconds(), "o", string(b)})
	if err == nil {
		c.lines = append(c.lines, string(line))
	}
}

// bytes returns the recording.
func (c *cast) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	header := fmt.Sprintf(`{"version":2,"width":%d,"height":%d,"env":{"TERM":"xterm"}}`, width, height)
	return []byte(header + "\n" + strings.Join(c.lines, "\n") + "\n")
}

// play plays all scenes, and returns the recording and what is on the terminal at its end.
func play(ctx context.Context, config *rest.Config) (recording []byte, shown string, err error) {
	dir, err := os.MkdirTemp("", "recording")
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := newStage(ctx, config, filepath.Join(dir, "kubeconfig"))
	if err != nil {
		return nil, "", err
	}
	tty, screen, closed, err := terminaltest.Open(width, height)
	if err != nil {
		return nil, "", err
	}
	c := &cast{start: time.Now()}
	screen.OnData(c.add)
	s.tty = tty
	err = s.scenes(ctx)
	closed()
	return c.bytes(), screen.String(), err
}

// A stage is the API server, and the terminal before it.
type stage struct {
	client.Client

	kubeconfig string
	tty        *os.File
}

// newStage returns the stage of an API server.
func newStage(ctx context.Context, c *rest.Config, path string) (*stage, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apis.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	kube, err := client.New(c, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["demo"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos["demo"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	config.Contexts["demo"] = &clientcmdapi.Context{Cluster: "demo", AuthInfo: "demo"}
	config.CurrentContext = "demo"
	for _, name := range []string{"search", "speech"} {
		if err := kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return nil, err
		}
	}
	return &stage{Client: kube, kubeconfig: path}, clientcmd.WriteToFile(*config, path)
}

// scenes are what is recorded.
func (s *stage) scenes(ctx context.Context) error {
	if err := s.artifact(ctx, "search", "bge-m3", "BAAI/bge-m3", done("4f1c5a0b9d3e"), xpv2.Available()); err != nil {
		return err
	}
	failed := modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed, Run: 1, Failures: 1, Failure: &modelv1alpha1.FailureObservation{Reason: "Gated"}}
	if err := s.artifact(ctx, "search", "llama3", "meta-llama/Llama-3.1-8B", failed, notReady("Gated",
		"Model meta-llama/Llama-3.1-8B is gated, and there is no token: ask for access on its page, and give a token in tokenSecretRef")); err != nil {
		return err
	}
	for _, a := range []struct {
		namespace, name, model string
	}{{"search", "qwen3", "Qwen/Qwen3-32B"}, {"speech", "whisper", "openai/whisper-large-v3"}} {
		if err := s.artifact(ctx, a.namespace, a.name, a.model, modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending, Run: 1}, notReady("Creating", "")); err != nil {
			return err
		}
	}
	if err := s.call(ctx, s.runs, "status", "-A", "-w"); err != nil {
		return err
	}
	return s.call(ctx, nil, "why", "llama3", "-n", "search")
}

// runs lets two runs come to their end, while the table is watched.
func (s *stage) runs(ctx context.Context) error {
	const total, steps = 61 << 30, 8
	for i := range steps + 1 {
		for _, a := range []struct {
			namespace, name string
			total           int64
			after           int
		}{{"search", "qwen3", total, 0}, {"speech", "whisper", 3 << 30, 3}} {
			status := modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseRunning, Run: 1, Progress: at(a.total, min(int64(i), steps), steps)}
			condition := notReady("Creating", "")
			if i >= steps-a.after {
				status, condition = done("9f86d081884c"), xpv2.Available()
				status.Size = a.total
			}
			if err := s.set(ctx, a.namespace, a.name, status, condition); err != nil {
				return err
			}
		}
		if err := pause(ctx, 900*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// at returns the progress of a run at one of its steps.
func at(total, step, steps int64) *modelv1alpha1.ProgressObservation {
	p := &modelv1alpha1.ProgressObservation{Step: "copy", BytesDone: total * step / steps, BytesTotal: total, BytesPerSecond: total / 200}
	p.Percent = int32(100 * step / steps) //nolint:gosec // At most 100.
	p.TimeLeft = &metav1.Duration{Duration: time.Duration(200*(steps-step)/steps) * time.Second}
	return p
}

// call types a call of the plugin and runs it. Something may happen meanwhile, at whose end
// the user interrupts the program.
func (s *stage) call(ctx context.Context, meanwhile func(context.Context) error, args ...string) error {
	if err := s.write(ctx, "$ kubectl kitops "+strings.Join(args, " ")+"\r\n"); err != nil {
		return err
	}
	running, interrupt := context.WithCancel(ctx)
	defer interrupt()
	code := make(chan int, 1)
	go func() {
		all := append([]string{"kubectl-kitops", "--kubeconfig", s.kubeconfig}, args...)
		code <- plugin.Run(running, all, plugin.Streams{In: s.tty, Out: s.tty, Err: s.tty})
	}()
	if meanwhile != nil {
		if err := meanwhile(ctx); err != nil {
			return err
		}
		interrupt()
	}
	if c := <-code; c != 0 {
		return errors.Errorf("%v ended with code %d", args, c)
	}
	return pause(ctx, time.Second)
}

// write types on the terminal.
func (s *stage) write(ctx context.Context, text string) error {
	for _, r := range text {
		if _, err := s.tty.WriteString(string(r)); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// artifact creates an Artifact with a status.
func (s *stage) artifact(ctx context.Context, namespace, name, model string, status modelv1alpha1.ArtifactObservation, c xpv2.Condition) error {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{
		Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: model}},
		Target: &modelv1alpha1.Target{Repository: "models/" + name, Tag: "v1"},
	}
	if err := s.Create(ctx, a); err != nil {
		return err
	}
	return s.set(ctx, namespace, name, status, c)
}

// set sets the status of an Artifact.
func (s *stage) set(ctx context.Context, namespace, name string, status modelv1alpha1.ArtifactObservation, c xpv2.Condition) error {
	a := &modelv1alpha1.Artifact{}
	if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, a); err != nil {
		return err
	}
	a.Status.AtProvider = status
	a.Status.SetConditions(c)
	return s.Status().Update(ctx, a)
}

// done is the status of an Artifact that is ready.
func done(digest string) modelv1alpha1.ArtifactObservation {
	return modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseSucceeded, Run: 1, Size: 4 << 30, Digest: "sha256:" + digest + strings.Repeat("0", 64-len(digest))}
}

// notReady returns a condition Ready that is False since three hours.
func notReady(reason, message string) xpv2.Condition {
	return xpv2.Condition{Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: xpv2.ConditionReason(reason), Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-3 * time.Hour))}
}
