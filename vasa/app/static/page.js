// Buttons inside results, which the page writes as plain HTML.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play-both]");
  if (!button) return;
  const videos = button.closest(".v-both").querySelectorAll("video");
  videos.forEach((video, place) => { video.currentTime = 0; video.muted = place > 0; });
  videos.forEach((video) => video.play());
});
