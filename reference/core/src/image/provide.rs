//! The way to the provider and back: ordering with further tries, asking how an order stands, fetching the image. The circuit is asked before every call.

use super::deadline::Deadline;
use crate::breaker::{self, Permit};
use crate::id;
use crate::ports::{FetchError, ImageHost, OutboundRequest};
use crate::problem::{Code, Problem};
use crate::provider::{self, Call, Finished, Meaning, Model, ideogram, picture};
use crate::retry;

/// What a provider's answer may weigh.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What an image may weigh.
pub const IMAGE_BYTES_MAX: usize = 20 * 1024 * 1024;
/// An order is asked after for the first time after this.
const FIRST_DISTANCE_MS: u64 = 500;
/// Each distance is twice the one before, up to this.
const DISTANCE_MS_MAX: u64 = 5000;

/// Why there is no image.
#[derive(Debug)]
pub enum Failure {
    /// There will be none.
    Ended(Problem),
    /// There was no time left.
    TimedOut,
    /// There is none just now.
    Unreachable(Problem),
}

/// An image that was fetched.
pub struct Image {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it was called.
    pub content_type: String,
    /// How the names of such files end.
    pub extension: String,
}

/// Who is asked, for whom.
pub struct Provider<'provider> {
    /// The instance, which has a circuit of its own.
    pub instance_id: &'provider str,
    /// The instance's key.
    pub api_key: &'provider str,
    /// Which model.
    pub model: &'provider Model,
    /// When to give up.
    pub deadline: Deadline,
}

fn error() -> Problem {
    Problem::new(Code::ProviderError, "the provider failed")
}

fn rejected() -> Problem {
    Problem::new(Code::ProviderRejected, "the provider rejected it for safety")
}

/// 429, with the provider's own time to wait if it gave one.
fn busy(asked_ms: Option<u64>) -> Problem {
    Problem::new(Code::RateLimited, "the provider has too much to do").retry_after_ms(asked_ms.unwrap_or(1000))
}

impl Provider<'_> {
    /// Makes one call, if the circuit lets it pass, and tells the circuit how it went.
    async fn call(&self, host: &impl ImageHost, request: OutboundRequest, calls: &mut u32) -> Result<Meaning, Failure> {
        // Without a circuit the call is made: it only spares a provider that fails.
        let permit = breaker::permit(host, self.instance_id, self.model.provider).await;
        if let Ok(Permit::Refused { wait_ms }) = permit {
            return Err(Failure::Unreachable(error().retry_after_ms(wait_ms)));
        }
        *calls += 1;
        let answer = self.deadline.of(host, host.fetch(request, ANSWER_BYTES_MAX)).await;
        let meaning = match &answer {
            Some(Ok(response)) => provider::understand(response),
            Some(Err(FetchError::Broken | FetchError::TooLarge)) | None => Meaning::Broken(None),
        };
        if let Ok(Permit::Granted { call }) = permit {
            let report = breaker::report(host, self.instance_id, self.model.provider, call, meaning.is_failure());
            drop(report.await);
        }
        if answer.is_some() {
            Ok(meaning)
        } else {
            Err(Failure::TimedOut)
        }
    }

    fn request_to<'call>(&'call self, base_url: Option<&'call str>) -> Call<'call> {
        Call {
            api_key: self.api_key,
            base_url: base_url.unwrap_or(ideogram::BASE_URL),
        }
    }

    /// Orders an image: the meaning is finished or pending. What may be tried again is; what hangs is not, for its fate is unknown.
    pub async fn order(&self, host: &impl ImageHost, prompt: &str, calls: &mut u32) -> Result<Meaning, Failure> {
        let settings = host.settings();
        let to = self.request_to(settings.ideogram_base_url.as_deref());
        let mut tries = 0;
        loop {
            tries += 1;
            let boundary = format!("form-{}", id::uuid(host));
            let (problem, asked_ms) = match self
                .call(host, provider::order(self.model, prompt, to, &boundary), calls)
                .await?
            {
                done @ (Meaning::Finished(_) | Meaning::Pending(_)) => return Ok(done),
                Meaning::Unsafe => return Err(Failure::Ended(rejected())),
                Meaning::Refused => return Err(Failure::Ended(error())),
                Meaning::Busy(asked_ms) => (busy(asked_ms), asked_ms),
                Meaning::Broken(asked_ms) => (error(), asked_ms),
            };
            let pause_ms = retry::pause_ms(tries, asked_ms, host);
            if tries == retry::TRIES_MAX || pause_ms >= self.deadline.left_ms(host) {
                return Err(Failure::Ended(problem));
            }
            host.sleep_ms(pause_ms).await;
        }
    }

    /// Asks once how an order stands. Nothing: it is still pending, or could not be asked; the time is what to wait at least.
    pub async fn ask(&self, host: &impl ImageHost, generation: &str) -> Result<Result<Finished, u64>, Failure> {
        let settings = host.settings();
        let to = self.request_to(settings.ideogram_base_url.as_deref());
        match self
            .call(host, provider::ask(self.model, generation, to), &mut 0)
            .await?
        {
            Meaning::Finished(finished) => Ok(Ok(finished)),
            Meaning::Pending(_) => Ok(Err(0)),
            Meaning::Busy(asked_ms) | Meaning::Broken(asked_ms) => Ok(Err(asked_ms.unwrap_or(0))),
            Meaning::Unsafe => Err(Failure::Ended(rejected())),
            Meaning::Refused => Err(Failure::Ended(error())),
        }
    }

    /// Waits until an order is finished, asking at growing distances.
    pub async fn wait(&self, host: &impl ImageHost, generation: &str) -> Result<Finished, Failure> {
        let mut distance_ms = FIRST_DISTANCE_MS;
        let mut asked_ms = 0;
        loop {
            let pause_ms = distance_ms.max(asked_ms).min(self.deadline.left_ms(host));
            host.sleep_ms(pause_ms).await;
            if self.deadline.left_ms(host) == 0 {
                return Err(Failure::TimedOut);
            }
            match self.ask(host, generation).await? {
                Ok(finished) => return Ok(finished),
                Err(wait_ms) => asked_ms = wait_ms,
            }
            distance_ms = (distance_ms * 2).min(DISTANCE_MS_MAX);
        }
    }

    /// Fetches the image, with further tries for what may have been an accident.
    pub async fn fetch(&self, host: &impl ImageHost, url: &str) -> Result<Image, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let request = OutboundRequest {
                method: "GET".to_owned(),
                url: url.to_owned(),
                ..OutboundRequest::default()
            };
            let answer = self
                .deadline
                .of(host, host.fetch(request, IMAGE_BYTES_MAX))
                .await
                .ok_or(Failure::TimedOut)?;
            let failure = match answer {
                Ok(response) if response.status == 200 => {
                    let kind = picture::kind(response.headers.get("content-type").unwrap_or_default());
                    let (content_type, extension) = kind.ok_or_else(|| Failure::Ended(error()))?;
                    return Ok(Image {
                        bytes: response.body,
                        content_type,
                        extension,
                    });
                }
                Err(FetchError::TooLarge) => return Err(Failure::Ended(error())),
                Ok(response) if response.status < 500 => Failure::Ended(error()),
                Ok(_) | Err(FetchError::Broken) => Failure::Unreachable(error()),
            };
            let pause_ms = retry::pause_ms(tries, None, host);
            if tries == retry::TRIES_MAX || pause_ms >= self.deadline.left_ms(host) {
                return Err(failure);
            }
            host.sleep_ms(pause_ms).await;
        }
    }
}
