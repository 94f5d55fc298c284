// A partner's server: gives its users room tokens, takes Conclave's webhooks.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Conclave knows people by an opaque handle that only this server can resolve.
func handleOf(user string) string {
	mac := hmac.New(sha256.New, []byte(os.Getenv("APP_SECRET")))
	mac.Write([]byte(user))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func mint(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Room, User string } // Your own login decides who User is: never the page.
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&wish)
	grants := map[string]any{"publish": []string{"camera", "microphone", "screen"}, "subscribe": true}
	body, _ := json.Marshal(map[string]any{"handle": handleOf(wish.User), "grants": grants})
	target := os.Getenv("CONCLAVE_URL") + "/v1/rooms/" + url.PathEscape(wish.Room) + "/tokens"
	request, _ := http.NewRequest("POST", target, bytes.NewReader(body))
	key := "Bearer " + os.Getenv("CONCLAVE_KEY")
	request.Header = http.Header{"Authorization": {key}, "Content-Type": {"application/json"}}
	if answer, failed := http.DefaultClient.Do(request); err == nil && failed == nil {
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body) // A problem tells the remedy.
		return
	}
	http.Error(w, "", http.StatusBadRequest)
}

func hook(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	verifier, err := webhooks.NewWebhook(os.Getenv("CONCLAVE_WEBHOOK_SECRET"))
	var event struct{ Type, Room, ID string }
	if err != nil || verifier.Verify(body, r.Header) != nil || json.Unmarshal(body, &event) != nil {
		http.Error(w, "", http.StatusBadRequest)
	} else {
		fmt.Println(event.Type, event.Room, event.ID) // The same id may come again.
	}
}

func main() {
	http.HandleFunc("/token", mint)
	http.HandleFunc("/webhook", hook)
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
